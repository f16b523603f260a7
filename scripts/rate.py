"""``python scripts/rate.py …`` does what ``zoo rate …`` does, see :mod:`zoo.commands.rate`."""

from zoo.commands.rate import main

if __name__ == "__main__":
    main()
