"""The Kubernetes API as we use it: client, server-side apply, inventory, leases."""
