"""`python -m devnet`."""

import sys

from devnet.commands import main

sys.exit(main(sys.argv[1:]))
