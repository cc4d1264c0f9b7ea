"""The gateway process: the only way in to a model."""
