"""Where a pod's evidence comes from: kernel, node, devices, the guest's agent. Standard library and cryptography."""
