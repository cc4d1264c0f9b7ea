"""Nodes with software TPMs, OpenBao, the broker in three replicas, and a sealed model that both sides grant."""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.local import LocalCluster
from e2e.cluster.namespaces import create_namespace, drop_namespace
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.processes import end
from e2e.cluster.provider import Cluster
from e2e.cluster.swtpm import NODE_FOLDER, NODE_SOCKET, SoftwareTpm, TpmMaker, give_tpm
from e2e.installation import NAMESPACE, Image, Installation, build_images, load_images, make_model
from e2e.observe import read_all
from e2e.quickstart import Quickstart
from e2e.release.bao import KEY, Bao
from e2e.repacking import repack
from e2e.sealed.marks import mark_model
from e2e.sealed.owner import CLASS, MODEL, SIGNER, Owner
from e2e.services import API, namespace_object

OWNERS = "model-owners"
CALLER = "user:reviewer"
LEASE_SECONDS = 60  # half of it is what a renewal may take on a busy machine
EVIDENCE = "nodes"
SECRET = "broker-bao-token"
ATTESTER = "app.kubernetes.io/component=attester"


@dataclass(frozen=True, slots=True)
class Grounds:
    """Everything a key is released on.

    Attributes:
        uri: A sealed and signed model whose key OpenBao has wrapped.
        images: Digests of agent and engine.
        nodes: The node whose TPM is believed, and one whose TPM is of a maker that nobody knows.
        tpms: Theirs.
    """

    installation: Installation
    owner: Owner
    bao: Bao
    uri: str
    manifest_digest: str
    images: tuple[str, ...]
    nodes: tuple[str, str]
    tpms: tuple[SoftwareTpm, SoftwareTpm]


@pytest.fixture(scope="package")
def tpms(cluster: Cluster) -> Iterator[tuple[SoftwareTpm, SoftwareTpm]]:
    """Give each node a TPM: the first of a maker that is believed, the second of a stranger."""
    assert isinstance(cluster, LocalCluster)
    for left in cluster.directory.glob("tpms-*/*/pid"):  # of a session before this one, on a cluster that is kept
        end(left)
    folder = cluster.directory / f"tpms-{uuid.uuid4().hex[:6]}"
    makers = [TpmMaker(folder / name).prepare() for name in ("maker", "stranger")]
    nodes = [node.name for node in cluster.nodes]
    first, second = parts = [SoftwareTpm(folder / node, maker) for node, maker in zip(nodes, makers, strict=True)]
    for node, tpm in zip(nodes, parts, strict=True):
        cluster.place(node).run("umount", NODE_FOLDER, check=False)
        tpm.start()
        give_tpm(cluster, node, tpm)
        # What an earlier session enrolled on a cluster that is kept is another machine.
        prefix = "sekisho.node-restriction.kubernetes.io"
        cluster.kubectl("annotate", "node", node, f"{prefix}/ek-digest-", f"{prefix}/ak-name-")
    yield first, second
    for node, tpm in zip(nodes, parts, strict=True):
        tpm.stop()
        cluster.place(node).run("umount", NODE_FOLDER, check=False)


@pytest.fixture(scope="package")
def grounds(
    quickstart: Quickstart,
    cluster: Cluster,
    tpms: tuple[SoftwareTpm, SoftwareTpm],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Grounds]:
    """Seal by OpenBao, install attester, trust controller and broker, and let the law say who owns the key."""
    assert isinstance(cluster, LocalCluster)
    installation = quickstart.installation
    bao = Bao(cluster)
    bao.start()
    folder = tmp_path_factory.mktemp("owner")
    owner, uri, digest = push_sealed(quickstart, bao, folder)
    policy = installation.get("classificationpolicy", "default")["spec"]
    demand(installation, owner, policy)
    installation.apply(evidence_policy())
    create_namespace(cluster.kubeconfig, OWNERS)
    before = installation.values
    prepare_key_service(installation, bao)
    installation.images |= load_images(cluster, ["broker", "attester", "trust"])
    load_twin(cluster, installation.images["agent"], folder)
    was_attesting = bool(cluster.kubectl("get", "daemonset", "-n", NAMESPACE, "-l", ATTESTER, "-o", "name"))
    installation.values = {**before, **chart_values(bao, tpms[0].maker)}
    installation.upgrade(installation.values)
    if was_attesting:  # on a cluster that is kept, before its nodes got the TPMs that they have now
        cluster.kubectl("rollout", "restart", "daemonset/sekisho-attester", "-n", NAMESPACE)
    cluster.kubectl("rollout", "status", "daemonset/sekisho-attester", "-n", NAMESPACE, TIMEOUT)
    engine = quickstart.facts["ENGINE"].partition("@")[2]
    images = (installation.images["agent"].digest, engine)
    first, second = (node.name for node in cluster.nodes)
    yield Grounds(installation, owner, bao, uri, digest, images, (first, second), tpms)
    installation.leave(before)
    drop_namespace(cluster.kubeconfig, OWNERS)
    cluster.kubectl("delete", "secret", SECRET, "-n", NAMESPACE)
    cluster.kubectl("delete", "configmap", "bao-ca", "-n", NAMESPACE)
    replace = [{"op": "replace", "path": "/spec", "value": policy}]
    cluster.kubectl("patch", "classificationpolicy", "default", "--type=json", "-p", json.dumps(replace))
    bao.stop()


def load_twin(cluster: Cluster, agent: Image, folder: Path) -> None:
    """Put the agent's image onto the nodes under a lower digest as well: they tell that one of every pod."""
    archive = folder / "twin.tar"
    repack(build_images(["agent"])["agent"], archive, below=agent.digest)
    cluster.load_image(archive, name=f"{agent.repository}:twin")


def push_sealed(quickstart: Quickstart, bao: Bao, folder: Path) -> tuple[Owner, str, str]:
    """Seal a model by a key of OpenBao, sign it and push it; return its URI and its manifest's digest."""
    plain = folder / "tiny"
    plain.mkdir()
    for file in make_model("tiny-gguf"):
        shutil.copy(file, plain / file.name)
    (file,) = plain.iterdir()
    mark_model(file)
    owner = Owner(folder, plain, quickstart.registry)
    owner.prepare()
    return owner, *seal_and_push(owner, bao, plain, model=MODEL)


def seal_and_push(owner: Owner, bao: Bao, plain: Path, *, model: str) -> tuple[str, str]:
    """Seal a folder by a key of OpenBao, sign it and push it; return its URI and its manifest's digest."""
    out = owner.folder / f"{plain.name}-sealed"
    kept = dict(os.environ)
    os.environ.update(bao.owner_environment(owner.folder))
    try:
        owner.run(
            "seal", str(plain), "--class", CLASS, "--model", model, "--version=2", "--kms", f"openbao:transit/{KEY}",
            "--licence", "Apache-2.0", "--out", str(out),
        )  # fmt: skip
    finally:
        os.environ.clear()
        os.environ.update(kept)
    owner.sign(out)
    digest = f"sha256:{hashlib.sha256((out / 'sekisho.json').read_bytes()).hexdigest()}"
    return owner.push(out, tag=f"{plain.name}-brokered"), digest


def demand(installation: Installation, owner: Owner, policy: dict[str, Any]) -> None:
    """Let one compartment want sealed weights and one a node with a TPM, and say that the owners own the key."""
    vault = {"name": "vault", "rules": {"weights": {"sealed": True, "signedBy": [SIGNER], "scan": "Clean"}}}
    proven = {"name": "proven", "rules": {"trust": {"anyOf": ["tpm"], "maxAgeSeconds": 600}}}
    spec = {
        "compartments": [*policy.get("compartments", []), vault, proven],
        "signers": [{"name": SIGNER, "publicKeys": [owner.public(SIGNER)]}],
        "keyOwners": [{"namespace": OWNERS, "kms": "openbao", "keyIds": [f"transit/{KEY}"]}],
    }
    installation.cluster.kubectl(
        "patch", "classificationpolicy", "default", "--type=merge", "-p", json.dumps({"spec": spec})
    )


def evidence_policy() -> str:
    """Return the reference values of a node: what its software TPM has measured at boot."""
    booted = hashlib.sha256(bytes(32) + hashlib.sha256(b"boot 4").digest()).hexdigest()
    rule = {"tee": "tpm", "registers": [{"name": "pcr4", "values": [booted]}]}
    return spell("EvidencePolicy", EVIDENCE, "", {"anyOf": [{"name": "tpm", "evidence": [rule]}]})


def prepare_key_service(installation: Installation, bao: Bao) -> None:
    """Give the broker its token of OpenBao and the authority of its certificate."""
    kubectl = installation.cluster.kubectl
    secret = kubectl("create", "secret", "generic", SECRET, "-n", NAMESPACE, "--dry-run=client", "-o", "yaml",
                     f"--from-literal=token={bao.make_token()}")  # fmt: skip
    authority = kubectl("create", "configmap", "bao-ca", "-n", NAMESPACE, "--dry-run=client", "-o", "yaml",
                        f"--from-file=ca.crt={bao.ca_file}")  # fmt: skip
    kubectl("apply", "-f", "-", stdin=secret)
    kubectl("apply", "-f", "-", stdin=authority)


def chart_values(bao: Bao, maker: TpmMaker) -> dict[str, Any]:
    """Return what switches attester, trust controller and broker on."""
    return {
        "attester": {"enabled": True, "tpm": {"socket": NODE_SOCKET}},
        "trust": {
            "enabled": True, "evidencePolicy": EVIDENCE, "tpmRoots": maker.root_pem,
            "tpmIntermediates": maker.intermediate_pem, "validSeconds": 120, "intervalSeconds": 10,
        },
        "broker": {
            "enabled": True, "replicas": 3,
            "openbao": {"address": bao.address, "caConfigMap": "bao-ca"},
            "egress": [{"to": [{"ipBlock": {"cidr": f"{bao.host}/32"}}], "ports": [{"protocol": "TCP", "port": 8210}]}],
            "extraEnv": [{"name": "SEKISHO_BAO_TOKEN_FILE", "value": "/etc/bao/token"}],
            "extraVolumes": [{"name": "bao-token", "secret": {"secretName": SECRET, "defaultMode": 288}}],
            "extraVolumeMounts": [{"name": "bao-token", "mountPath": "/etc/bao", "readOnly": True}],
        },
    }  # fmt: skip


def spell(kind: str, name: str, namespace: str, spec: dict[str, Any], **labels: str) -> str:
    """Return an object of ours."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}
    return yaml.safe_dump({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec})


def grant(grounds: Grounds, namespace: str, *services: str, users: tuple[str, ...] = (CALLER,), **owner: Any) -> None:
    """Let both sides grant the model's key to services; `owner` changes the owner's side, and so which model it is."""
    sites = [site["metadata"]["name"] for site in read_all(grounds.installation.cluster, "sites")]
    shared = {"classes": {"atMost": {"level": "internal", "compartments": ["proven", "vault"]}}, "users": list(users)}
    workloads = [{"namespace": namespace, "service": name, "images": list(grounds.images)} for name in services]
    owners_side = {
        **shared, "model": {"name": MODEL, "digest": grounds.manifest_digest}, "workloads": workloads, "sites": sites,
        "key": {"kms": "openbao", "keyId": f"transit/{KEY}"}, "evidence": {"policy": EVIDENCE},
        "leaseSeconds": LEASE_SECONDS, **owner,
    }  # fmt: skip
    tenants_side = {
        **shared, "services": list(services), "models": [{"owner": OWNERS, "name": owners_side["model"]["name"]}],
        "images": list(grounds.images),
    }  # fmt: skip
    grounds.installation.apply(spell("KeyReleasePolicy", namespace, OWNERS, owners_side))
    grounds.installation.apply(spell("DataGrant", "tiny", namespace, tenants_side))


@pytest.fixture
def closed(cluster: Cluster, grounds: Grounds) -> Iterator[str]:
    """A namespace whose label makes everything in it internal+vault."""
    with labelled_namespace(cluster, "internal.vault") as name:
        yield name


@pytest.fixture
def proven(cluster: Cluster, grounds: Grounds) -> Iterator[str]:
    """A namespace of which everything wants a node that has proven itself by its TPM, and sealed weights."""
    with labelled_namespace(cluster, "internal.proven.vault") as name:
        yield name


@contextlib.contextmanager
def labelled_namespace(cluster: Cluster, data_class: str) -> Iterator[str]:
    """Make a namespace of a class, there from the beginning: the label is part of what is created."""
    name = f"k-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "-f", "-", stdin=namespace_object(name, data_class))
    yield name
    cluster.kubectl("delete", "keyreleasepolicy", name, "-n", OWNERS, "--ignore-not-found", check=False)
    drop_namespace(cluster.kubeconfig, name)
