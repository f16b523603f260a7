"""``python scripts/tune.py …`` does what ``zoo tune …`` does, see :mod:`zoo.commands.tune`."""

from zoo.commands.tune import main

if __name__ == "__main__":
    main()
