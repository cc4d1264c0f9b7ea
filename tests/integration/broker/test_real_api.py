"""The broker on a real API server: pods that its controllers made, bound tokens, watched grants, written conditions."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from sekisho.api import names
from sekisho.broker.cluster import KubeCluster
from sekisho.broker.knowledge import Knowledge
from sekisho.broker.process import RunningBroker, Surface, run_broker
from sekisho.broker.settings import BrokerSettings
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import read_kubeconfig
from sekisho.kube.pods import PodFacts
from sekisho.kube.resources import PODS
from sekisho.render.manifests import render_workload
from sekisho.render.podspec import describe_pod, digest_template
from sekisho.render.settings import Canary
from sekisho.seal.canonical import encode_canonical
from tests.unit.broker.parts import NAMESPACE, SERVICE, START, Agent, World
from tests.unit.broker.release_cases import AGENT, EVIDENCE, IMAGE, LAW, OWNER, SITE_KEY, TENANT
from tests.unit.depot.parts import Keys, build_keys, settle
from tests.unit.plan.worlds import build_runtime
from tests.unit.render.blueprints import RELEASED, SEALED, build_blueprint

REPOSITORY = Path(__file__).parents[3]
API = "inference.sekisho.dev/v1alpha1"
KINDS = ("classificationpolicies", "sites", "evidencepolicies", "keyreleasepolicies", "datagrants", "inferenceservices")
SETTINGS = replace(RELEASED, canaries=(Canary("node", "$HOST_IP", 10250, ("tcp",)),))
Raw = dict[str, Any]


@dataclass(repr=False)
class Stage:
    cluster: LocalCluster
    world: World
    agent: Agent
    running: RunningBroker
    client: KubeClient
    tls: Keys
    template: Raw
    token: str

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("-n", NAMESPACE, *words, stdin=stdin)

    def patch(self, kind: str, name: str, body: Raw, *words: str) -> None:
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(body), *words)

    async def read_pod(self) -> Raw:
        raw = await self.client.get(PODS, self.agent.name, namespace=NAMESPACE)
        assert raw is not None
        return raw

    async def conditions(self) -> dict[str, Raw]:
        return {item["type"]: item for item in (await self.read_pod())["status"]["conditions"]}

    async def post(self, path: str, body: Raw, *, token: str = "") -> tuple[int, Raw]:
        return await asyncio.to_thread(self._post, path, encode_canonical(body), token or self.token)

    def _post(self, path: str, body: bytes, token: str) -> tuple[int, Raw]:
        url, headers = f"https://127.0.0.1:{self.running.https_port}{path}", {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        try:
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    async def ask(self, purpose: str = "release", *, token: str = "") -> tuple[int, Raw]:
        return await self.post(
            "/v1/challenge", {"purpose": purpose, "question": self.agent.build_question()}, token=token
        )

    async def get(self, path: str = "/v1/keys", purpose: str = "release") -> tuple[int, Raw]:
        status, challenge = await self.ask(purpose)
        if status != 200:
            return status, challenge
        self.world.clock.seconds = (datetime.now(UTC) - START).total_seconds()
        pod: PodFacts = await self.agent.identify()
        return await self.post(path, self.agent.build_answer(challenge, pod, purpose))


def create(cluster: LocalCluster, *items: Raw) -> None:
    cluster.kubectl(
        "apply", "--server-side", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


def render(uid: str) -> list[Raw]:
    blueprint = build_blueprint(
        namespace=NAMESPACE, name=SERVICE, uid=uid, sealed=SEALED, settings=SETTINGS, in_memory=True, replicas=1,
        agent_image=f"r.test/agent@{AGENT}", site="tokyo", size_bytes=None,
        runtime=build_runtime(image=f"r.test/engine@{IMAGE}", memory={"overhead": "1Gi", "shared": "64Mi"}),
    )  # fmt: skip
    return [dict(item) for item in render_workload(blueprint, live=None)]


def prepare(cluster: LocalCluster) -> Raw:
    """Make the service and the grants; return the template of its pods."""
    cluster.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    crds = [f"crd/{kind}.inference.sekisho.dev" for kind in KINDS]
    cluster.kubectl("wait", "--for=condition=Established", *crds, TIMEOUT)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "tk-1", "labels": {SITE_KEY: "tokyo"}}}
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (NAMESPACE, "owners")]
    create(cluster, node, *spaces)
    site = {"tier": "Closed", "jurisdiction": "JP", "operatedBy": "own", "nodes": {"matchLabels": {SITE_KEY: "tokyo"}}}

    def own(kind: str, name: str, spec: Any, namespace: str = "") -> Raw:
        meta = {"name": name, **({"namespace": namespace} if namespace else {})}
        return {"apiVersion": API, "kind": kind, "metadata": meta, "spec": spec}

    service = {"users": ["group:legal"], "predictor": {"model": {"modelRef": {"name": "m"}}}}
    create(
        cluster, own("ClassificationPolicy", "default", LAW), own("Site", "tokyo", site),
        own("EvidencePolicy", "genoa", EVIDENCE), own("KeyReleasePolicy", "reviewer", OWNER, "owners"),
        own("DataGrant", "contracts", TENANT, NAMESPACE), own("InferenceService", SERVICE, service, NAMESPACE),
    )  # fmt: skip
    uid = cluster.kubectl("-n", NAMESPACE, "get", "inferenceservice", SERVICE, "-o", "jsonpath={.metadata.uid}")
    manifests = render(uid)
    create(cluster, *manifests)
    template: Raw = manifests[-1]["spec"]["template"]
    status = {"status": {"template": {"digest": digest_template(template), "earlier": []}}}
    cluster.kubectl("-n", NAMESPACE, "patch", "inferenceservice", SERVICE, "--subresource=status", "--type=merge",
                    "-p", json.dumps(status))  # fmt: skip
    return template


async def find_pod(cluster: LocalCluster) -> str:
    def look() -> str:
        return cluster.kubectl("-n", NAMESPACE, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}").strip()

    return str(await settle(look, seconds=300)).split()[0]


def settle_pod(cluster: LocalCluster, pod: str) -> None:
    """Bind a pod and say of it what a kubelet and the depot say."""
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod, "namespace": NAMESPACE},
               "target": {"apiVersion": "v1", "kind": "Node", "name": "tk-1"}}  # fmt: skip
    cluster.kubectl(
        "create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/binding", "-f", "-", stdin=json.dumps(binding)
    )

    def told(name: str, image: str, *, running: bool) -> Raw:
        state: Raw = {"running": {}} if running else {"waiting": {"reason": "PodInitializing"}}
        return {"name": name, "image": image, "imageID": image if running else "", "ready": running, "restartCount": 0,
                "state": state}  # fmt: skip

    agent, engine = f"r.test/agent@{AGENT}", f"r.test/engine@{IMAGE}"
    status = {
        "phase": "Running", "hostIP": "10.9.0.2", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
        "startTime": "2026-11-29T11:00:00Z",
        "initContainerStatuses": [told("fence", agent, running=True), told("agent", agent, running=True)],
        "containerStatuses": [told("engine", engine, running=False)],
        "conditions": [{"type": names.ISOLATED_POD_CONDITION, "status": "True"}],
    }  # fmt: skip
    cluster.kubectl("-n", NAMESPACE, "patch", "pod", pod, "--subresource=status", "-p", json.dumps({"status": status}))


def make_token(cluster: LocalCluster, pod: str, *, audience: str = "sekisho-broker") -> str:
    words = ("--bound-object-kind=Pod", f"--bound-object-name={pod}", f"--audience={audience}")
    return cluster.kubectl("-n", NAMESPACE, "create", "token", "chat-predictor", *words).strip()


@pytest.fixture(scope="module")
def prepared(control_plane: LocalCluster) -> Raw:
    return prepare(control_plane)


@pytest.fixture
async def stage(control_plane: LocalCluster, prepared: Raw, tmp_path: Path) -> AsyncIterator[Stage]:
    pod = await find_pod(control_plane)
    if not control_plane.kubectl("-n", NAMESPACE, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"):
        settle_pod(control_plane, pod)
    tls = build_keys(tmp_path / "tls", "127.0.0.1")
    settings = BrokerSettings(
        bind="127.0.0.1", https_port=0, health_port=0, tls_dir=tmp_path / "tls", record_dir=tmp_path / "record",
        collateral_dir=tmp_path / "collateral",
    )  # fmt: skip
    world = World()
    async with KubeClient(await read_kubeconfig(control_plane.kubeconfig), process="broker") as client:
        world.cluster = KubeCluster(client)
        knowledge = Knowledge(client, settings.freshness)
        surface = Surface(world.cluster, knowledge, world.vault.open, world.maker.verify)
        async with run_broker(settings, surface, meter=NoOpMeter("test")) as running:
            await settle(lambda: not running.readiness.problem, seconds=300)
            agent = Agent(world, name=pod)
            yield Stage(control_plane, world, agent, running, client, tls, prepared, make_token(control_plane, pod))
            await running.broker.settle()


async def test_a_pod_that_the_controllers_made_has_the_digest_of_its_template(stage: Stage) -> None:
    raw = await stage.read_pod()
    meta = stage.template["metadata"]
    wanted = describe_pod(meta["labels"], {}, stage.template["spec"])
    found = describe_pod(raw["metadata"]["labels"], raw["metadata"].get("annotations") or {}, raw["spec"])
    assert found == wanted
    assert raw["spec"]["nodeName"] == "tk-1"
    assert raw["spec"]["tolerations"]


async def test_a_pod_gets_its_key_and_its_conditions_tell_so(stage: Stage) -> None:
    status, answer = await stage.get()
    assert status == 200, answer
    await stage.running.broker.settle()
    conditions = await stage.conditions()
    assert conditions[names.KEY_RELEASED_POD_CONDITION]["status"] == "True"
    assert json.loads(conditions[names.ATTESTED_POD_CONDITION]["message"])["policyDigest"] == answer["policyDigest"]
    assert conditions[names.ISOLATED_POD_CONDITION]["status"] == "True"


async def test_a_token_of_another_audience_or_pod_is_refused(stage: Stage) -> None:
    other = make_token(stage.cluster, stage.agent.name, audience="sekisho-depot")
    status, said = await stage.ask(token=other)
    assert (status, said["reason"]) == (401, "Unauthenticated")
    unbound = stage.kubectl("create", "token", "chat-predictor", "--audience=sekisho-broker").strip()
    status, said = await stage.ask(token=unbound)
    assert (status, said["reason"]) == (401, "Unauthenticated")


async def test_a_withdrawn_grant_reaches_a_running_pod_with_its_next_renewal(stage: Stage) -> None:
    assert (await stage.get("/v1/renew", "renew"))[0] == 200
    stage.patch("datagrant", "contracts", {"spec": {"suspended": True}})

    async def refused() -> Raw:
        status, said = await stage.get("/v1/renew", "renew")
        return said if status == 403 else {}

    said = await until(refused)
    assert said["reason"] == "GrantSuspended"
    await stage.running.broker.settle()
    assert (await stage.conditions())[names.KEY_RELEASED_POD_CONDITION]["reason"] == "GrantSuspended"
    stage.patch("datagrant", "contracts", {"spec": {"suspended": False}})

    async def granted() -> bool:
        return (await stage.get("/v1/renew", "renew"))[0] == 200

    await until(granted)


async def test_a_pod_whose_template_is_not_published_gets_nothing(stage: Stage) -> None:
    status = {"template": {"digest": "sha256:" + "0" * 64, "earlier": []}}
    stage.patch("inferenceservice", SERVICE, {"status": status}, "--subresource=status")
    found, said = await stage.get()
    assert (found, said["reason"]) == (403, "WorkloadMismatch")
    published = {"template": {"digest": digest_template(stage.template), "earlier": []}}
    stage.patch("inferenceservice", SERVICE, {"status": published}, "--subresource=status")
    assert (await stage.get())[0] == 200


async def test_a_pod_that_somebody_made_to_look_like_ours_gets_nothing(stage: Stage) -> None:
    raw = await stage.read_pod()
    spec = {key: value for key, value in raw["spec"].items() if key not in {"nodeName", "priority", "preemptionPolicy"}}
    meta = {"name": "thief", "namespace": NAMESPACE, "labels": raw["metadata"]["labels"]}
    meta["labels"] = {key: value for key, value in meta["labels"].items() if key != "pod-template-hash"}
    create(stage.cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    settle_pod(stage.cluster, "thief")
    thief = replace(stage, agent=replace(stage.agent, name="thief"), token=make_token(stage.cluster, "thief"))
    found, said = await thief.get()
    assert (found, said["reason"]) == (403, "WorkloadMismatch")
    stage.kubectl("delete", "pod", "thief", "--force", "--grace-period=0")
    found, said = await thief.ask()
    assert (found, said["reason"]) in {(401, "Unauthenticated"), (403, "PodNotKnown")}


async def until(check: Any, *, seconds: float = 300.0) -> Any:
    deadline = asyncio.get_running_loop().time() + seconds
    while not (value := await check()):
        assert asyncio.get_running_loop().time() < deadline, "not so in time"
        await asyncio.sleep(0.5)
    return value
