"""Sources of weights of every kind inside the cluster's network, told to the depot by one upgrade of the chart."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.artifact import push_folder
from e2e.cluster.local import LocalCluster
from e2e.cluster.processes import end
from e2e.cluster.provider import Cluster
from e2e.cluster.registry import Access, Registry
from e2e.installation import NAMESPACE, ROOT, Installation, make_model
from e2e.quickstart import Quickstart

USER, PASSWORD = "reader", "correct-horse"
ACCESS_KEY, SECRET_KEY = "reading-key", "reading-secret"
OBJECT_PORT = 5443


@dataclass(frozen=True, slots=True)
class Sources:
    """What the depot may read.

    Attributes:
        installation: With the sources in its values.
        closed: A registry with TLS by its own authority and a password; holds models/tiny-gguf; for vault/… and late/…
            the depot has no Secret, for denied/… a wrong one.
        frail: A plain registry that tests kill and start; holds models/tiny-gguf and models/big-gguf.
        digest: Of the tiny model's manifest, in both.
        big_digest: Of the big model's manifest, in `frail`.
        objects: host:port of a server of files and S3 objects.
    """

    installation: Installation
    closed: Registry
    frail: Registry
    digest: str
    big_digest: str
    objects: str


@pytest.fixture(scope="package")
def sources(quickstart: Quickstart, registry: Registry, cluster: Cluster) -> Iterator[Sources]:
    """Start every source, and let the depot know them."""
    assert isinstance(cluster, LocalCluster)
    digest = quickstart.facts["MODEL_URI"].rpartition("@")[2]
    closed = Registry(cluster, access=Access(tls=True, user=USER, password=PASSWORD), port=5001, name="closed")
    shutil.rmtree(closed.directory / "data", ignore_errors=True)
    shutil.copytree(registry.directory / "data", closed.directory / "data")
    repositories = closed.directory / "data/docker/registry/v2/repositories"
    for name in ("vault", "late", "denied"):
        shutil.copytree(repositories / "models", repositories / name)
    closed.start()
    frail = Registry(cluster, port=5002, name="frail")
    frail.start()
    push_folder(frail.url, "models/tiny-gguf", make_model("tiny-gguf"))
    big_digest = push_folder(frail.url, "models/big-gguf", make_model("big-gguf"))
    objects = start_objects(cluster, closed)
    installation = quickstart.installation
    write_credentials(installation, closed)
    described = describe(closed.host, frail.host, objects)
    plain = installation.values["depot"]["sources"]
    installation.values["depot"]["sources"] = [*plain, *described]
    installation.upgrade(installation.values)
    yield Sources(installation, closed, frail, digest, big_digest, objects)
    installation.values["depot"]["sources"] = plain
    for other in (closed, frail):
        other.kill()
    end(cluster.directory / "pid" / "objects")


def describe(closed: str, frail: str, objects: str) -> list[dict[str, object]]:
    """Return the chart's depot.sources."""
    ca = {"caConfigMap": "closed-ca"}
    return [
        {"prefix": f"oci://{closed}/models/", "credentialsSecret": "closed-reader", **ca},
        {"prefix": f"oci://{closed}/vault/", "credentialsSecret": "vault-reader", **ca},
        {"prefix": f"oci://{closed}/late/", "credentialsSecret": "late-reader", **ca},
        {"prefix": f"oci://{closed}/denied/", "credentialsSecret": "denied-reader", **ca},
        {"prefix": f"oci://{frail}/", "plainHttp": True},
        {"prefix": f"https://{objects}/files/", **ca},
        {"prefix": "s3://weights/", "endpoint": f"https://{objects}", "credentialsSecret": "s3-reader", **ca},
    ]


def write_credentials(installation: Installation, closed: Registry) -> None:
    """Write the Secrets that exist, and the authority, into the depot's namespace."""
    kubectl = installation.cluster.kubectl
    for name in ("closed-reader", "denied-reader", "s3-reader", "vault-reader", "late-reader"):
        kubectl("delete", "secret", name, "-n", NAMESPACE, "--ignore-not-found")
    kubectl("delete", "configmap", "closed-ca", "-n", NAMESPACE, "--ignore-not-found")
    create_secret(installation, "closed-reader", username=USER, password=PASSWORD)
    create_secret(installation, "denied-reader", username=USER, password="wrong")
    create_secret(installation, "s3-reader", accessKeyId=ACCESS_KEY, secretAccessKey=SECRET_KEY)
    kubectl("create", "configmap", "closed-ca", "-n", NAMESPACE, f"--from-file=ca.crt={closed.ca_file}")


def create_secret(installation: Installation, name: str, **values: str) -> None:
    """Create a Secret in the depot's namespace."""
    literals = (f"--from-literal={key}={value}" for key, value in values.items())
    installation.cluster.kubectl("create", "secret", "generic", name, "-n", NAMESPACE, *literals)


def start_objects(cluster: LocalCluster, closed: Registry) -> str:
    """Serve the tiny model by HTTPS and S3 from the control plane's network, with the registry's certificate."""
    folder = cluster.directory / "objects"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tiny").mkdir(parents=True)
    for file in make_model("tiny-gguf"):
        shutil.copy(file, folder / "tiny" / "tiny.gguf")
    address = f"{closed.host.partition(':')[0]}:{OBJECT_PORT}"
    end(cluster.directory / "pid" / "objects")
    path = os.pathsep.join(str(part) for part in (ROOT, ROOT / "operator"))
    cluster.control_plane.spawn_inside("objects", (
        "env", f"PYTHONPATH={path}", sys.executable, "-m", "e2e.weights.object_server",
        f"--address={address}", f"--folder={folder}", f"--certificate={closed.keys / 'registry.crt'}",
        f"--key={closed.keys / 'registry.key'}", f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}",
    ))  # fmt: skip
    return address


def model_file() -> Path:
    """Return the one file of the tiny model."""
    (file,) = make_model("tiny-gguf")
    return file
