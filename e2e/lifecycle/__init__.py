"""From apply to delete: what services, the operator and its chart do on a real cluster."""
