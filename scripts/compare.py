"""``python scripts/compare.py …`` does what ``zoo compare …`` does, see :mod:`zoo.commands.compare`."""

from zoo.commands.compare import main

if __name__ == "__main__":
    main()
