"""``python -m shadowprune``: the command line."""

import sys

from shadowprune.cli import main

if __name__ == "__main__":
    sys.exit(main())
