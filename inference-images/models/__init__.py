"""Models for tests and the demo: generated here or taken out of a package; nothing comes from a hub."""
