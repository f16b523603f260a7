"""``python scripts/sample.py …`` does what ``zoo sample …`` does, see :mod:`zoo.commands.sample`."""

from zoo.commands.sample import main

if __name__ == "__main__":
    main()
