"""``python scripts/export.py …`` does what ``zoo export …`` does, see :mod:`zoo.commands.export`."""

from zoo.commands.export import main

if __name__ == "__main__":
    main()
