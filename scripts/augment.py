"""``python scripts/augment.py …`` does what ``zoo augment …`` does, see :mod:`zoo.commands.augment`."""

from zoo.commands.augment import main

if __name__ == "__main__":
    main()
