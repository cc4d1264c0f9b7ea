"""Namespaces that pods can be created in at once."""

from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.patience import PATIENCE_SECONDS
from e2e.cluster.processes import poll
from e2e.cluster.reading import reader_of
from e2e.cluster.writing import writer_of


def create_namespace(kubeconfig: Path, name: str) -> None:
    """Create a namespace, and return once it has the account that pods run as where they name none."""
    writer_of(kubeconfig).apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await_account(kubeconfig, name)


def await_account(kubeconfig: Path, namespace: str) -> None:
    """Wait for a namespace's default ServiceAccount: a controller makes it, and until then pods are refused."""
    reader = reader_of(kubeconfig)
    if not poll(lambda: reader.get("serviceaccount", "default", namespace=namespace) is not None,
                seconds=PATIENCE_SECONDS, interval=0.05):  # fmt: skip
        raise ClusterError(f"namespace {namespace} has no default ServiceAccount after {PATIENCE_SECONDS} s",
                           remedy="see whether the controller manager runs")  # fmt: skip


def drop_namespace(kubeconfig: Path, name: str) -> None:
    """Begin to delete a namespace, and wait for nothing; that there is none is no error."""
    writer_of(kubeconfig).delete("namespace", name, wait=False)
