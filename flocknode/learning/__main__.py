"""`python -m flocknode.learning`: what `flocknode.worker.Worker` starts."""

from flocknode.learning.child import main

main()
