"""The Kubernetes API: a small client, server-side apply without needless writes, prune, leases."""
