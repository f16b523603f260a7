"""``python scripts/impute.py …`` does what ``zoo impute …`` does, see :mod:`zoo.commands.impute`."""

from zoo.commands.impute import main

if __name__ == "__main__":
    main()
