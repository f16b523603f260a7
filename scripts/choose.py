"""``python scripts/choose.py …`` does what ``zoo choose …`` does, see :mod:`zoo.commands.choose`."""

from zoo.commands.choose import main

if __name__ == "__main__":
    main()
