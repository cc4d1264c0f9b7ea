"""Build sekisho's container images from Debian packages and hashed wheels, with or without a Docker engine."""
