"""Isolation, proven by packets that are counted where they would arrive."""
