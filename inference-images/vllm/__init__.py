"""vLLM: the profile for GPUs, and an image that runs it on CPUs in tests."""
