"""The registry of a cluster: reachable from pods and from here, protected where asked, cut off and brought back."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from e2e.cluster.images import TOOLS_IMAGE
from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.provider import Cluster
from e2e.cluster.registry import Access, Registry

ACCESS = Access(tls=True, user="depot", password="correct horse")


@pytest.fixture
def registry(cluster: Cluster) -> Iterator[Registry]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the registry lives in the local provider's network")
    registry = Registry(cluster, access=ACCESS, port=5444, name="registry-tls")
    registry.start()
    yield registry
    registry.restore()
    registry.kill()


def status(registry: Registry, password: str) -> int:
    context = ssl.create_default_context(cafile=str(registry.ca_file))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, registry.url, ACCESS.user, password)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), urllib.request.HTTPBasicAuthHandler(passwords)
    )
    try:
        with opener.open(f"{registry.url}/v2/", timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_wrong_password_is_refused_and_the_right_one_is_not(registry: Registry) -> None:
    assert status(registry, "wrong") == 401
    assert status(registry, ACCESS.password) == 200


def test_a_pod_reaches_the_registry_until_it_is_cut_off(cluster: Cluster, namespace: str, registry: Registry) -> None:
    cluster.kubectl("-n", namespace, "run", "client", f"--image={TOOLS_IMAGE}")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/client", TIMEOUT)
    tries = ("-n", namespace, "exec", "client", "--", "probe", "tcp", "-timeout", "500ms", registry.host)
    assert '"ok":1' in cluster.kubectl(*tries)
    registry.cut()
    assert '"ok":0' in cluster.kubectl(*tries, check=False)
    registry.restore()
    assert '"ok":1' in cluster.kubectl(*tries)


def test_a_killed_registry_comes_back_with_what_it_held(registry: Registry) -> None:
    (registry.directory / "data" / "kept").mkdir(parents=True, exist_ok=True)
    registry.kill()
    with pytest.raises(OSError, match=r"reset|refused|EOF|closed|timed out"):
        status(registry, ACCESS.password)
    registry.start()
    assert status(registry, ACCESS.password) == 200
    assert (registry.directory / "data" / "kept").is_dir()
