"""The command line: one executable, nouns first. Data goes to stdout, everything else to stderr."""

import sys


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from flocknode.cli.app import run

    sys.exit(run(sys.argv[1:]))
