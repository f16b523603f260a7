"""Files that are damaged, too large or hostile, and the readers that have to refuse them: see ``scripts/fuzz.py``."""
