"""How weights come into pods on a real cluster, and what is said where they cannot."""
