"""``python scripts/importance.py …`` does what ``zoo importance …`` does, see :mod:`zoo.commands.importance`."""

from zoo.commands.importance import main

if __name__ == "__main__":
    main()
