"""A sealed model in a real registry, a policy that demands it, and the development release that opens its key."""

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.namespaces import drop_namespace
from e2e.cluster.provider import Cluster
from e2e.installation import NAMESPACE, Installation, load_images, make_model
from e2e.quickstart import Quickstart
from e2e.sealed.marks import mark_model
from e2e.sealed.owner import BOARD, KEY, SIGNER, Owner
from e2e.services import namespace_object

SECRET = "unsafe-development-key"


@dataclass(frozen=True, slots=True)
class Vault:
    """Everything a service of class internal+vault needs.

    Attributes:
        uri: Of version 2, sealed and signed by the release signer.
        sealed: The folder of version 2 at the owner's desk.
        mark: Bytes of its plaintext.
        drawn: When those were drawn, Unix seconds.
    """

    installation: Installation
    owner: Owner
    uri: str
    sealed: Path
    mark: bytes
    drawn: float


@pytest.fixture(scope="package")
def vault(quickstart: Quickstart, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """Seal, sign and push a model; let the policy demand it; install the development release."""
    installation = quickstart.installation
    folder = tmp_path_factory.mktemp("owner")
    plain = folder / "tiny"
    plain.mkdir()
    for file in make_model("tiny-gguf"):
        shutil.copy(file, plain / file.name)
    (file,) = plain.iterdir()
    drawn = time.time()
    mark = mark_model(file)
    owner = Owner(folder, plain, quickstart.registry)
    owner.prepare()
    sealed = owner.seal("v2", version=2)
    owner.sign(sealed)
    uri = owner.push(sealed, tag="2")
    policy = installation.get("classificationpolicy", "default")["spec"]
    demand(installation, owner, policy)
    before = installation.values
    put_key(installation, owner)
    installation.images |= load_images(cluster, ["unsafe-release"])
    installation.values = {**before, "unsafeDevelopmentRelease": {"enabled": True, "keySecret": SECRET}}
    installation.upgrade(installation.values)
    yield Vault(installation, owner, uri, sealed, mark, drawn)
    installation.leave(before)
    cluster.kubectl("delete", "secret", SECRET, "-n", NAMESPACE)
    cluster.kubectl("patch", "classificationpolicy", "default", "--type=json", "-p", json.dumps(
        [{"op": "replace", "path": "/spec", "value": policy}]
    ))  # fmt: skip


def put_key(installation: Installation, owner: Owner) -> None:
    """Give the development release the owner's key file as it is now."""
    kubectl = installation.cluster.kubectl
    secret = kubectl("create", "secret", "generic", SECRET, "-n", NAMESPACE, "--dry-run=client", "-o", "yaml",
                     f"--from-file={KEY}.json={owner.folder / f'{KEY}.json'}")  # fmt: skip
    kubectl("apply", "-f", "-", stdin=secret)


def demand(installation: Installation, owner: Owner, policy: dict[str, Any]) -> None:
    """Add to the policy a compartment whose weights must be sealed, signed and scanned, and whose keys count."""
    weights = {"sealed": True, "signedBy": [SIGNER], "scan": "Clean"}
    compartment = {"name": "vault", "rules": {"weights": weights}}
    board = {"name": "board", "rules": {"weights": {"approvedBy": [BOARD]}}}
    signers = [{"name": name, "publicKeys": [owner.public(name)]} for name in (SIGNER, BOARD)]
    patch = {"spec": {"compartments": [*policy.get("compartments", []), compartment, board], "signers": signers}}
    installation.cluster.kubectl("patch", "classificationpolicy", "default", "--type=merge", "-p", json.dumps(patch))


@pytest.fixture
def closed(cluster: Cluster) -> Iterator[str]:
    """A namespace whose label makes everything in it internal+vault."""
    name = f"v-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "-f", "-", stdin=namespace_object(name, "internal.vault"))
    yield name
    drop_namespace(cluster.kubeconfig, name)
