"""Bounded parsers of the headers of model files: what a file says it holds, and where; never its weights."""
