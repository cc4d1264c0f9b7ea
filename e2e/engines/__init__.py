"""Real engines on a real cluster, through the gateway."""
