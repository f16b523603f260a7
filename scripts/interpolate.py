"""``python scripts/interpolate.py …`` does what ``zoo interpolate …`` does, see :mod:`zoo.commands.interpolate`."""

from zoo.commands.interpolate import main

if __name__ == "__main__":
    main()
