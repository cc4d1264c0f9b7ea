"""The certificates of depot and gateway, on a real API server."""

import asyncio
import base64
import json
from collections.abc import Callable

import pytest
from cryptography import x509

from e2e.cluster.local import LocalCluster
from sekisho.controller.certificates import Certificates
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import read_kubeconfig
from sekisho.kube.failures import ApiConflictError

SECRETS = ("sekisho-ca", "sekisho-depot-tls", "sekisho-gateway-tls")


class System:
    """What stands in a system namespace of this test's own."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self._kubectl: Callable[..., str] = lambda *rest: cluster.kubectl("-n", namespace, *rest)

    def read(self, kind: str, name: str) -> dict[str, str]:
        data: dict[str, str] = json.loads(self._kubectl("get", kind, name, "-o", "json"))["data"]
        return data

    def version(self, name: str) -> str:
        return self._kubectl("get", "secret", name, "-o", "jsonpath={.metadata.resourceVersion}")

    def spoil(self, name: str) -> None:
        self._kubectl("patch", "secret", name, "--type=merge", "-p", json.dumps({"data": {"tls.crt": "eA=="}}))


@pytest.fixture
def system(control_plane: LocalCluster, namespace: str) -> System:
    return System(control_plane, namespace)


async def test_certificates_are_made_once_and_made_again_where_they_are_spoilt(
    control_plane: LocalCluster, namespace: str, system: System
) -> None:
    credentials = await read_kubeconfig(control_plane.kubeconfig)
    async with KubeClient(credentials, process="test") as client:
        bundle = await Certificates(client, namespace).ensure()
        assert system.read("configmap", "sekisho-ca")["ca.crt"] == bundle
        leaf = x509.load_pem_x509_certificate(base64.b64decode(system.read("secret", "sekisho-depot-tls")["tls.crt"]))
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(bundle.encode()))
        before = [system.version(name) for name in SECRETS]
        assert await Certificates(client, namespace).ensure() == bundle
        assert [system.version(name) for name in SECRETS] == before
        system.spoil("sekisho-gateway-tls")
        assert await Certificates(client, namespace).ensure() == bundle
        after = [system.version(name) for name in SECRETS]
        assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False]
        system.spoil("sekisho-ca")
        assert await Certificates(client, namespace).ensure() != bundle


async def test_of_two_that_make_the_first_authority_one_wins_and_the_other_reads_it(
    control_plane: LocalCluster, namespace: str, system: System
) -> None:
    credentials = await read_kubeconfig(control_plane.kubeconfig)
    async with KubeClient(credentials, process="test") as client:
        rivals = [Certificates(client, namespace) for _ in range(2)]
        first = await asyncio.gather(*(rival.ensure() for rival in rivals), return_exceptions=True)
        assert all(isinstance(item, str | ApiConflictError) for item in first)
        bundles = {await rival.ensure() for rival in rivals}
        assert len(bundles) == 1
        assert system.read("configmap", "sekisho-ca")["ca.crt"] in bundles
