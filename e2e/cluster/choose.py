"""Makes the cluster that this machine can run."""

from e2e.cluster import state
from e2e.cluster.errors import ClusterError
from e2e.cluster.kind import KindCluster
from e2e.cluster.kind_registry import KindRegistry
from e2e.cluster.local import LocalCluster
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Cluster, Options, ProviderName, docker_answers
from e2e.cluster.registry import Registry


def default_provider(options: Options) -> ProviderName:
    """Return who makes such a cluster here, or made the one of its name that is there already."""
    if options.control_plane_only or state.Record.read(options.name) is not None:
        return "local"
    return "kind" if docker_answers() else "local"


def new_cluster(
    options: Options, *, provider: ProviderName | None = None, report: Report = silent
) -> LocalCluster | KindCluster:
    """Return a cluster that is not started yet.

    A control plane alone is always local: it needs no container runtime.
    """
    provider = provider or default_provider(options)
    if provider == "local":
        return LocalCluster(options, report=report)
    if not docker_answers():
        raise ClusterError("`docker info` does not answer", remedy="start Docker, or use --provider local")
    return KindCluster(options, report=report)


def new_registry(cluster: Cluster) -> Registry | KindRegistry:
    """Return a plain registry inside the cluster's network that is not started yet."""
    return KindRegistry(cluster) if isinstance(cluster, KindCluster) else Registry(cluster)
