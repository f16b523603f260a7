"""One training run: from a checked configuration to a run directory, and what a process needs for it."""
