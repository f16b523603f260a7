"""``python scripts/tables.py …`` does what ``zoo tables …`` does, see :mod:`zoo.commands.tables`."""

from zoo.commands.tables import main

if __name__ == "__main__":
    main()
