"""The demo: a real cluster, sekisho on it, two services, and three attempts that must fail."""
