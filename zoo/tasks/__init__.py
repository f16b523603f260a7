"""What users do: train, evaluate, predict. Scripts and ``train.py`` are thin commands over these functions."""
