"""``python scripts/optimizers.py …`` does what ``zoo optimizers …`` does, see :mod:`zoo.commands.optimizers`."""

from zoo.commands.optimizers import main

if __name__ == "__main__":
    main()
