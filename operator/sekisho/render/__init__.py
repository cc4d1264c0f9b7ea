"""Manifests from a spec, its class and its placement; same input, same bytes."""
