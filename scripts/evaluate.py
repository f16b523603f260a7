"""``python scripts/evaluate.py …`` does what ``zoo evaluate …`` does, see :mod:`zoo.commands.evaluate`."""

from zoo.commands.evaluate import main

if __name__ == "__main__":
    main()
