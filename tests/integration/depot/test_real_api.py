"""The depot on a real API server: bound tokens, pods, conditions; the agent speaks to it as it would from a pod."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from sekisho.agent.loop import Agent, AgentPaths
from sekisho.agent.state import AgentState
from sekisho.depot.cluster import KubeCluster
from sekisho.depot.process import RunningDepot, run_depot
from sekisho.depot.settings import DepotSettings
from sekisho.errors import Reason
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import read_kubeconfig
from tests.unit.depot.parts import FileServer, build_keys, serve_files, settle

REPOSITORY = Path(__file__).parents[3]
NAME = "sekisho-depot.sekisho-system.svc"
DATA = os.urandom(1 << 20)
API = "inference.sekisho.dev/v1alpha1"
CANARY = {"name": "node", "host": "$HOST_IP", "port": 10250, "protocols": ["tcp", "udp"]}
HOST_IP = "255.255.255.255"  # the kernel refuses to send there: blocked without a packet


@dataclass(repr=False)
class Stage:
    cluster: LocalCluster
    namespace: str
    folder: Path
    depot: RunningDepot
    agent: Agent
    config: dict[str, Any]

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, stdin=stdin)

    def use_token(self, *words: str, account: str = "chat-predictor") -> None:
        (self.folder / "token").write_text(self.kubectl("create", "token", account, *words))

    def use_pods_token(self, pod: str = "chat-0") -> None:
        self.use_token("--audience=sekisho-depot", "--bound-object-kind=Pod", f"--bound-object-name={pod}")

    def conditions(self) -> dict[str, dict[str, str]]:
        status = json.loads(self.kubectl("get", "pod", "chat-0", "-o", "json"))["status"]
        return {item["type"]: item for item in status.get("conditions") or ()}

    async def step(self) -> Any:
        await asyncio.to_thread(self.agent.take_step)
        return self.agent.state.startup()


def render_objects(namespace: str, config: dict[str, Any], uri: str) -> list[dict[str, Any]]:
    labels = {"sekisho.dev/service": "chat"}
    model = {"owner": "a@example.test", "format": {"name": "gguf"}, "storageUri": uri, "size": "2Mi"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "chat-predictor"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chat-predictor"},
         "data": {"agent.json": json.dumps(config)}},
        {"apiVersion": API, "kind": "Model", "metadata": {"name": "m"}, "spec": model},
        {"apiVersion": API, "kind": "InferenceService", "metadata": {"name": "chat"},
         "spec": {"predictor": {"model": {"modelRef": {"name": "m"}}}}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "chat-0", "labels": labels},
         "spec": {"serviceAccountName": "chat-predictor", "schedulerName": "none",
                  "containers": [{"name": "engine", "image": "none"}]}},
    ]  # fmt: skip


@pytest.fixture
async def stage(control_plane: LocalCluster, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    control_plane.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    control_plane.kubectl("wait", "--for=condition=Established", "crd/inferenceservices.inference.sekisho.dev",
                          "crd/models.inference.sekisho.dev", TIMEOUT)  # fmt: skip
    keys = build_keys(tmp_path / "tls", NAME, "127.0.0.1")
    (tmp_path / "ca.crt").write_bytes(keys.ca.read_bytes())
    (tmp_path / "models").mkdir()
    settings = DepotSettings(
        cache_bytes=64 << 20, cache_dir=tmp_path / "cache", sources_file=tmp_path / "sources.json",
        tls_dir=tmp_path / "tls", host="127.0.0.1", https_port=0, health_port=0, canary_port=0,
    )  # fmt: skip
    with serve_files(FileServer({"/m/model.gguf": DATA}), keys) as server:
        (tmp_path / "sources.json").write_text(
            json.dumps([{"prefix": f"https://{server.host}/", "caFile": str(keys.ca)}])
        )
        credentials = await read_kubeconfig(control_plane.kubeconfig)
        async with (
            KubeClient(credentials, process="depot") as client,
            run_depot(settings, KubeCluster(client), meter=NoOpMeter("test")) as depot,
        ):
            config = {
                "namespace": namespace, "service": "chat",
                "depot": {"host": "127.0.0.1", "port": depot.https_port, "serverName": NAME}, "canaries": [CANARY],
                "weights": {"mode": "depot", "path": str(tmp_path / "models")},
                "engine": {"port": 8080, "healthPath": "/health"},
            }  # fmt: skip
            (tmp_path / "agent.json").write_text(json.dumps(config))
            paths = AgentPaths(config=tmp_path / "agent.json", ca=tmp_path / "ca.crt", token=tmp_path / "token")
            agent = Agent(paths=paths, state=AgentState(), host_ip=HOST_IP)
            stage = Stage(control_plane, namespace, tmp_path, depot, agent, config)
            items = render_objects(namespace, config, f"https://{server.host}/m/model.gguf")
            stage.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
            status = {"status": {"hostIP": HOST_IP, "podIPs": [{"ip": "10.8.0.5"}], "podIP": "10.8.0.5"}}
            stage.kubectl("patch", "pod", "chat-0", "--subresource=status", "-p", json.dumps(status))
            yield stage
            agent.stop.set()
            await asyncio.to_thread(agent.run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--audience=sekisho-depot",), "not bound to a pod"),
        (("--bound-object-kind=Pod", "--bound-object-name=chat-0"), "not valid for audience sekisho-depot"),
        (
            ("--audience=sekisho-gateway", "--bound-object-kind=Pod", "--bound-object-name=chat-0"),
            "not valid for audience sekisho-depot",
        ),
    ],
)
async def test_a_token_of_another_audience_or_of_no_pod_is_refused(
    stage: Stage, words: tuple[str, ...], message: str
) -> None:
    stage.use_token(*words)
    health = await stage.step()
    assert (health.ok, health.reason) == (False, Reason.UNAUTHENTICATED)
    assert message in health.message
    assert "sekisho.dev/isolated" not in stage.conditions()


async def test_a_pod_of_another_account_cannot_pose_as_a_model(stage: Stage) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "thief", "labels": {"sekisho.dev/service": "chat"}},
           "spec": {"serviceAccountName": "default", "schedulerName": "none",
                    "containers": [{"name": "a", "image": "none"}]}}  # fmt: skip
    stage.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    stage.use_token(
        "--audience=sekisho-depot", "--bound-object-kind=Pod", "--bound-object-name=thief", account="default"
    )
    health = await stage.step()
    assert (health.ok, health.reason) == (False, Reason.POD_NOT_KNOWN)
    assert "runs as default, not as chat-predictor" in health.message


async def test_a_proof_becomes_a_condition_beside_those_of_others_and_weights_follow(stage: Stage) -> None:
    other = {"status": {"conditions": [{"type": "PodScheduled", "status": "True", "reason": "Test"}]}}
    stage.kubectl("patch", "pod", "chat-0", "--subresource=status", "-p", json.dumps(other))
    stage.use_pods_token()
    await stage.step()
    await settle(lambda: stage.agent.state.startup().ok, seconds=300)
    conditions = stage.conditions()
    assert conditions["PodScheduled"]["status"] == "True"
    assert (conditions["sekisho.dev/isolated"]["status"], conditions["sekisho.dev/isolated"]["reason"]) == (
        "True",
        "IsolationProven",
    )
    assert conditions["sekisho.dev/weights"]["reason"] == "WeightsAvailable"
    assert (stage.folder / "models" / "model.gguf").read_bytes() == DATA


async def test_silence_is_marked_in_the_condition_also_by_a_depot_that_starts_anew(stage: Stage) -> None:
    stage.use_pods_token()
    await stage.step()
    proofs = stage.depot.api.proofs
    await settle(lambda: stage.conditions().get("sekisho.dev/isolated", {}).get("status") == "True")
    since = stage.conditions()["sekisho.dev/isolated"]["lastTransitionTime"]
    proofs._sessions.clear()
    assert await proofs.adopt() >= 1
    real = proofs.clock
    proofs.clock = lambda: real() + 1000
    assert await proofs.sweep() >= 1
    condition = stage.conditions()["sekisho.dev/isolated"]
    assert (condition["status"], condition["reason"]) == ("False", "IsolationProofStale")
    assert "90 s allowed" in condition["message"]
    assert condition["lastTransitionTime"] != since


async def test_a_deleted_pods_token_is_worth_nothing(stage: Stage) -> None:
    stage.use_pods_token()
    stage.kubectl("delete", "pod", "chat-0", "--grace-period=0", "--force")
    health = await stage.step()
    assert not health.ok
    assert health.reason in {Reason.UNAUTHENTICATED, Reason.POD_NOT_KNOWN}


async def test_a_model_that_is_larger_than_its_owner_states_is_refused_in_the_condition(stage: Stage) -> None:
    stage.kubectl("patch", "model", "m", "--type=merge", "-p", json.dumps({"spec": {"size": "1Ki"}}))
    stage.use_pods_token()
    await stage.step()
    await settle(lambda: stage.conditions().get("sekisho.dev/weights", {}).get("reason") == "SizeExceeded", seconds=300)
    condition = stage.conditions()["sekisho.dev/weights"]
    assert condition["status"] == "False"
    assert "1024 allowed" in condition["message"]
