"""Nodes of a real API server, attested by real software TPMs: tokens bound to attesters, labels, annotations, time."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.swtpm import SoftwareTpm, TpmMaker
from sekisho.api.names import NODE_TRUST_PREFIX
from sekisho.attester.attesting import NodeAttestation
from sekisho.attester.collecting import Hardware
from sekisho.attester.controller import TrustClient
from sekisho.attester.settings import AttesterSettings
from sekisho.attester.tpm import Tpm
from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import read_kubeconfig
from sekisho.trust.process import RunningTrust, run_trust
from sekisho.trust.settings import TrustSettings
from tests.unit.depot.parts import build_keys, settle

REPOSITORY = Path(__file__).parents[3]
NAMESPACE = "sekisho-system"
NODES = ("n1", "n2")


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> TpmMaker:
    return TpmMaker(tmp_path_factory.mktemp("maker")).prepare()


@pytest.fixture(scope="module")
def tpms(maker: TpmMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SoftwareTpm]]:
    with contextlib.ExitStack() as stack:
        yield {node: stack.enter_context(SoftwareTpm(tmp_path_factory.mktemp(node), maker)) for node in NODES}


def policy_of(tpm: SoftwareTpm) -> dict[str, Any]:
    values = dict(Tpm(tpm.socket).quote(bytes(32)).pcrs)
    rule = {"tee": "tpm", "registers": [{"name": "pcr4", "values": [values[4].hex()]}]}
    return {
        "apiVersion": "inference.sekisho.dev/v1alpha1",
        "kind": "EvidencePolicy",
        "metadata": {"name": "nodes"},
        "spec": {"anyOf": [{"name": "tpm", "evidence": [rule]}]},
    }


def attester_pod(node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"attester-{node}", "namespace": NAMESPACE},
        "spec": {
            "nodeName": node,
            "serviceAccountName": "sekisho-attester",
            "containers": [{"name": "attester", "image": "none"}],
        },
    }


@dataclass
class Stage:
    """A trust controller beside a real API server."""

    cluster: LocalCluster
    folder: Path
    ca: Path
    running: RunningTrust
    tpms: dict[str, SoftwareTpm]

    def token(self, node: str, *words: str, account: str = "sekisho-attester") -> str:
        bound = ("--bound-object-kind=Pod", f"--bound-object-name=attester-{node}")
        return self.cluster.kubectl("-n", NAMESPACE, "create", "token", account, *(words or bound),
                                    "--audience=sekisho-trust").strip()  # fmt: skip

    def said(self, node: str) -> dict[str, str]:
        meta = json.loads(self.cluster.kubectl("get", "node", node, "-o", "json"))["metadata"]
        both = {**meta.get("labels", {}), **meta.get("annotations", {})}
        return {key.removeprefix(NODE_TRUST_PREFIX): v for key, v in both.items() if key.startswith(NODE_TRUST_PREFIX)}

    @contextlib.asynccontextmanager
    async def attester(self, node: str, *, token: str, tpm: str = "") -> AsyncIterator[NodeAttestation]:
        file = self.folder / "token"
        file.write_text(token)
        settings = AttesterSettings(
            node, trust_host="127.0.0.1", trust_port=self.running.https_port, token_file=file, ca_file=self.ca
        )
        async with TrustClient(settings) as client:
            yield NodeAttestation(node, Hardware(Tpm(self.tpms[tpm or node].socket)), client)


@pytest.fixture
async def stage(
    control_plane: LocalCluster, maker: TpmMaker, tpms: dict[str, SoftwareTpm], tmp_path: Path
) -> AsyncIterator[Stage]:
    control_plane.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    control_plane.kubectl("wait", "--for=condition=Established", TIMEOUT,
                          "crd/evidencepolicies.inference.sekisho.dev")  # fmt: skip
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount",
               "metadata": {"name": "sekisho-attester", "namespace": NAMESPACE}}  # fmt: skip
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}} for node in NODES]
    first = [namespace, account, *nodes, policy_of(tpms["n1"])]
    for items in (first, [attester_pod(node) for node in NODES]):
        body = {"apiVersion": "v1", "kind": "List", "items": items}
        control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    keys = build_keys(tmp_path / "tls", f"sekisho-trust.{NAMESPACE}.svc", "127.0.0.1")
    collateral = tmp_path / "collateral"
    collateral.mkdir()
    (collateral / "tpm-roots.pem").write_text(maker.root_pem)
    (collateral / "tpm-intermediates.pem").write_text(maker.intermediate_pem)
    settings = TrustSettings(
        policy="nodes", valid_seconds=60, interval_seconds=10, collateral_dir=collateral, tls_dir=tmp_path / "tls",
        host="127.0.0.1", https_port=0, health_port=0,
    )  # fmt: skip
    credentials = await read_kubeconfig(control_plane.kubeconfig)
    async with (
        KubeClient(credentials, process="trust") as client,
        run_trust(settings, client, leads=lambda: True, meter=NoOpMeter("test")) as running,
    ):
        await settle(lambda: running.policy.is_there and {node.name for node in running.nodes.all()} >= set(NODES))
        yield Stage(control_plane, tmp_path, keys.ca, running, tpms)
    control_plane.kubectl("delete", "node", *NODES, "--wait=false")


async def test_a_node_is_attested_by_its_tpm_and_forgotten_when_it_stops(stage: Stage) -> None:
    async with stage.attester("n1", token=stage.token("n1")) as attestation:
        assert await attestation.attest() == 10.0
        said = stage.said("n1")
        assert said["attested"] == "tpm"
        assert said["tpm-attested-at"].isdigit()
        await attestation.attest()
        assert stage.said("n1")["ak-name"] == said["ak-name"]
    node = next(node for node in stage.running.nodes.all() if node.name == "n1")
    past = {"metadata": {"annotations": {f"{NODE_TRUST_PREFIX}expires-at": "2026-01-01T00:00:00Z"}}}
    stage.cluster.kubectl("patch", "node", node.name, "-p", json.dumps(past))
    await settle(lambda: "attested" not in stage.said("n1"), seconds=300)
    assert "tpm-attested-at" not in stage.said("n1")
    assert stage.said("n1")["refusal"].startswith("EvidenceStale: ")


async def test_a_token_of_one_node_is_worth_nothing_for_another(stage: Stage) -> None:
    async with stage.attester("n2", token=stage.token("n1")) as attestation:
        with pytest.raises(RefusedError, match="the attester of node n1 speaks of node 'n2'") as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.NOT_ALLOWED
    assert stage.said("n2") == {}


async def test_a_token_that_is_bound_to_no_pod_is_worth_nothing(stage: Stage) -> None:
    async with stage.attester("n1", token=stage.token("n1", "--duration=600s")) as attestation:
        with pytest.raises(RefusedError, match="the token is not bound to a pod") as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.UNAUTHENTICATED


async def test_two_nodes_cannot_share_a_tpm(stage: Stage) -> None:
    async with stage.attester("n1", token=stage.token("n1")) as attestation:
        await attestation.attest()
    async with stage.attester("n2", token=stage.token("n2"), tpm="n1") as other:
        with pytest.raises(RefusedError, match="is that of node n1") as raised:
            await other.attest()
    assert raised.value.reason is Reason.CHIP_UNKNOWN
    async with stage.attester("n2", token=stage.token("n2")) as other:
        await other.attest()
    assert stage.said("n2")["ak-name"] != stage.said("n1")["ak-name"]


async def test_another_kernel_loses_the_label(stage: Stage) -> None:
    async with stage.attester("n1", token=stage.token("n1")) as attestation:
        await attestation.attest()
        stage.tpms["n1"].extend(4, b"another kernel")
        try:
            with pytest.raises(RefusedError, match="register pcr4") as raised:
                await attestation.attest()
        finally:
            await asyncio.to_thread(stage.tpms["n1"].stop)
            await asyncio.to_thread(stage.tpms["n1"].start)
        assert raised.value.reason is Reason.MEASUREMENT_UNKNOWN
        assert "tpm-attested-at" not in stage.said("n1")
        await attestation.attest()
    assert stage.said("n1")["attested"] == "tpm"
    assert "refusal" not in stage.said("n1")


async def test_a_node_that_was_made_anew_is_enrolled_anew(stage: Stage) -> None:
    async with stage.attester("n1", token=stage.token("n1")) as attestation:
        await attestation.attest()
    stage.cluster.kubectl("delete", "node", "n1")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    stage.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(node))
    stage.cluster.kubectl("delete", "pod", "-n", NAMESPACE, "attester-n1", "--force", "--ignore-not-found")
    stage.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(attester_pod("n1")))
    assert stage.said("n1") == {}
    uid = stage.cluster.kubectl("get", "node", "n1", "-o", "jsonpath={.metadata.uid}").strip()
    # Until the watch shows the new node, evidence is held against the earlier one.
    await settle(lambda: any(node.uid == uid for node in stage.running.nodes.all()))
    async with stage.attester("n1", token=stage.token("n1")) as attestation:
        await attestation.attest()
    assert stage.said("n1")["attested"] == "tpm"
