"""``python scripts/predict.py …`` does what ``zoo predict …`` does, see :mod:`zoo.commands.predict`."""

from zoo.commands.predict import main

if __name__ == "__main__":
    main()
