"""``python scripts/detect.py …`` does what ``zoo detect …`` does, see :mod:`zoo.commands.detect`."""

from zoo.commands.detect import main

if __name__ == "__main__":
    main()
