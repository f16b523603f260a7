"""What a user watches: the progress bar, ``metrics.csv``, and the pictures in TensorBoard."""
