"""The operator against a bare kopf handler, on a real API server: C1 to C9, and the demo's D1."""
