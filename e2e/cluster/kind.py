"""The `kind` provider: a cluster in Docker containers (being written)."""

from e2e.cluster.errors import ClusterError
from e2e.cluster.local import LocalCluster


class KindCluster(LocalCluster):
    def start(self) -> None:
        raise ClusterError("kind is not there yet", remedy="use --provider local")
