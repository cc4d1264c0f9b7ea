"""Namespaces that pods can be created in at once."""

from typing import Protocol

from e2e.cluster.patience import TIMEOUT


class Kubectl(Protocol):
    """Runs kubectl as administrator."""

    def __call__(self, *arguments: str) -> str: ...


def create_namespace(kubectl: Kubectl, name: str) -> None:
    """Create a namespace, and return once it has the account that pods run as where they name none."""
    kubectl("create", "namespace", name)
    await_account(kubectl, name)


def await_account(kubectl: Kubectl, namespace: str) -> None:
    """Wait for a namespace's default ServiceAccount: a controller makes it, and until then pods are refused."""
    kubectl("wait", "--for=create", "serviceaccount/default", "-n", namespace, TIMEOUT)
