"""Real Kubernetes clusters for tests and the demo, with or without a Docker engine.

Start at :mod:`e2e.cluster.provider` for what a cluster can do and at :func:`e2e.cluster.choose.new_cluster`
for getting one.
"""
