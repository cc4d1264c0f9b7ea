"""Run AI inference where the classification of the data says it may run."""

__version__ = "0.1.0"
