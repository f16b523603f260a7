"""Sources and kinds of data, splits and in-memory batches; ``ImageDataModule`` hands them to Lightning."""
