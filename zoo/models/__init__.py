"""The mathematics: one model a file, in plain torch. ``zoo.registry`` finds the files by their names."""
