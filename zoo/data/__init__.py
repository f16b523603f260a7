"""Image sources, splits and in-memory batches; ``ImageDataModule`` hands them to Lightning."""
