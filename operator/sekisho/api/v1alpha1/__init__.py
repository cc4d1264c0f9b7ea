"""Version v1alpha1 of the custom resources, one kind a module."""
