"""What stands between a caller's text and an engine, and between the engine's and the caller."""
