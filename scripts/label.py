"""``python scripts/label.py …`` does what ``zoo label …`` does, see :mod:`zoo.commands.label`."""

from zoo.commands.label import main

if __name__ == "__main__":
    main()
