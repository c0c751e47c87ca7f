"""`python -m flocknode`: the same as the command `flocknode`."""

from flocknode.cli import main

if __name__ == "__main__":
    main()
