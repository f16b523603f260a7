"""``python scripts/encode.py …`` does what ``zoo encode …`` does, see :mod:`zoo.commands.encode`."""

from zoo.commands.encode import main

if __name__ == "__main__":
    main()
