"""Users of the library: the textbook's claims measured, the report that shows them, and which model to choose."""
