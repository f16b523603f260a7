"""``python scripts/reconstruct.py …`` does what ``zoo reconstruct …`` does, see :mod:`zoo.commands.reconstruct`."""

from zoo.commands.reconstruct import main

if __name__ == "__main__":
    main()
