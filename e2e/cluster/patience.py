"""How long to wait for what comes by itself: a bound on hanging only, wide enough for a slow and busy machine."""

PATIENCE_SECONDS = 600

TIMEOUT = f"--timeout={PATIENCE_SECONDS}s"
"""The same for kubectl."""
