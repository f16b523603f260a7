"""``python scripts/language.py …`` does what ``zoo language …`` does, see :mod:`zoo.commands.language`."""

from zoo.commands.language import main

if __name__ == "__main__":
    main()
