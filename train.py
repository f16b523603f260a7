"""``python train.py model=cnn data=mnist`` does what ``zoo train …`` does, see :mod:`zoo.commands.train`."""

from zoo.commands.train import main

if __name__ == "__main__":
    main()
