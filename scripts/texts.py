"""``python scripts/texts.py …`` does what ``zoo texts …`` does, see :mod:`zoo.commands.texts`."""

from zoo.commands.texts import main

if __name__ == "__main__":
    main()
