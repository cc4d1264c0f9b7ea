"""W1 to W9: how fast sealed weights load, against others loading plain or encrypted ones."""
