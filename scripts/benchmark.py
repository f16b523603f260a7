"""``python scripts/benchmark.py …`` does what ``zoo benchmark …`` does, see :mod:`zoo.commands.benchmark`."""

from zoo.commands.benchmark import main

if __name__ == "__main__":
    main()
