"""The owner's command line: seal a model, look into it, verify it, move it through a registry."""
