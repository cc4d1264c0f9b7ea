"""Sealed weights: the format, its keys and its signatures. Pure, no Kubernetes; runs in the pod as well."""
