"""``python -m sgdlimit``: the command line."""

from sgdlimit.runtime.cli import main

if __name__ == "__main__":
    main()
