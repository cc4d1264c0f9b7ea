"""Benchmarks: ratios against a reference that runs side by side with the candidate in the same process tree."""
