"""A control plane that one folder of tests has to itself: what other folders leave in theirs must not be met."""

import os
from collections.abc import Iterator

from e2e.cluster.local import LocalCluster
from e2e.cluster.provider import Options


def start_own(name: str) -> Iterator[LocalCluster]:
    """Run a control plane until the generator is closed."""
    with LocalCluster(Options(name=f"{name}-{os.getpid()}", control_plane_only=True, audit_level="all")) as cluster:
        yield cluster
