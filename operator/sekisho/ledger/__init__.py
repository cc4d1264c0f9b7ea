"""Lines of the record and how they are bound to each other."""
