"""Makes the cluster that this machine can run."""

from e2e.cluster.errors import ClusterError
from e2e.cluster.kind import KindCluster
from e2e.cluster.local import LocalCluster
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Options, ProviderName, docker_answers


def default_provider() -> ProviderName:
    return "kind" if docker_answers() else "local"


def new_cluster(
    options: Options, *, provider: ProviderName | None = None, report: Report = silent
) -> LocalCluster | KindCluster:
    """Return a cluster that is not started yet.

    A control plane alone is always local: it needs no container runtime.
    """
    if provider is None:
        provider = "local" if options.control_plane_only else default_provider()
    if provider == "local":
        return LocalCluster(options, report=report)
    if not docker_answers():
        raise ClusterError("`docker info` does not answer", remedy="start Docker, or use --provider local")
    return KindCluster(options, report=report)
