"""The gateway on a real API server: real tokens, real RBAC, the rights that the chart gives it and no others."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import CollectorRegistry

from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.writing import Writer, writer_of
from sekisho import telemetry
from sekisho.errors import SekishoError
from sekisho.gateway.facts import Facts
from sekisho.gateway.main import Gateway
from sekisho.gateway.waking.asking import Asking, find_interval_seconds
from sekisho.gateway.waking.resting import Rest
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials, read_kubeconfig
from sekisho.kube.reflecting import Freshness
from tests.unit.gateway.api_server import ApiServer
from tests.unit.gateway.engine import Engine
from tests.unit.gateway.house import (
    House,
    Loopback,
    build_chat,
    build_pod,
    build_service,
    build_settings,
    write_certificate,
)

REPOSITORY = Path(__file__).parents[3]
API = "inference.sekisho.dev/v1alpha1"
GROUP = "inference.sekisho.dev"
OWN_AUDIENCE = "https://kubernetes.default.svc.cluster.local"
POLICY: dict[str, Any] = {
    "unlabelled": "internal",
    "levels": [
        {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"]}},
        {"name": "confidential", "rules": {"tiers": ["Closed"]}},
        {"name": "restricted", "rules": {"tiers": ["Closed"]}},
    ],
    "compartments": [{"name": "gdpr"}],
}


class Stage(House):
    """A gateway whose API server is real; `grant` writes RBAC."""

    cluster: LocalCluster
    namespace: str

    @property
    def model(self) -> str:
        return f"{self.namespace}/chat"

    @property
    def writer(self) -> Writer:
        return writer_of(self.cluster.kubeconfig)

    def real_token(self, account: str = "app", audience: str = "sekisho-gateway") -> str:
        return self.writer.make_token(account, namespace=self.namespace, audience=audience)

    def bind(self, account: str, **rules: dict[str, Any]) -> None:
        """Let an account "use" things: its own namespace's services, and levels and compartments of the cluster."""
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.namespace}
        for resource, names in rules.items():
            scope = "" if resource == "inferenceservices" else "Cluster"
            name = f"{self.namespace}-{account}-{resource}"
            rule = {"apiGroups": [GROUP], "resources": [resource], "verbs": ["use"], **names}
            reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": f"{scope}Role", "name": name}
            meta = {"name": name} if scope else {"name": name, "namespace": self.namespace}
            rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": meta}
            self.writer.apply({**rbac, "kind": f"{scope}Role", "rules": [rule]})
            self.writer.apply({**rbac, "kind": f"{scope}RoleBinding", "roleRef": reference, "subjects": [subject]})

    async def until(self, status: int, *, what: str, **how: Any) -> Any:
        """Ask until the authorizer, and what is remembered of it, has caught up."""
        for _ in range(600):
            answer = await self.chat(build_chat(model=self.model), **how)
            if answer.status == status:
                return answer
            await asyncio.sleep(0.5)
        raise AssertionError(f"waited 300 s for {what}: {answer}")


def render_rights(cluster: LocalCluster) -> list[dict[str, Any]]:
    """Return the chart's own role of the gateway, and bind it in this test's namespace only by name."""
    text = cluster.helm(
        "template", "sekisho", str(REPOSITORY / "charts/sekisho"), "--namespace", "sekisho-system",
        "--show-only", "templates/gateway.yaml",
    )  # fmt: skip
    return [item for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item["kind"] == "ClusterRole"]


async def act_as(cluster: LocalCluster, namespace: str) -> Credentials:
    """Return credentials of an account that has the chart's rights of the gateway, and nothing else."""
    (role,) = await asyncio.to_thread(render_rights, cluster)
    name = f"{namespace}-gateway"
    role["metadata"] = {"name": name}
    items = [
        role,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gateway", "namespace": namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": namespace}],
        },
    ]
    writer = writer_of(cluster.kubeconfig)
    for item in items:
        writer.apply(item)
    token = writer.make_token("gateway", namespace=namespace, audience=OWN_AUDIENCE)
    admin = await read_kubeconfig(cluster.kubeconfig)
    return replace(admin, token=token, certificate_pem="", key_pem="")


@pytest.fixture(scope="module")
def law(control_plane: LocalCluster) -> Iterator[None]:
    """The policy of these tests; what others had applied comes back afterwards."""
    control_plane.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    control_plane.kubectl("wait", "--for=condition=Established", TIMEOUT, "-f", str(REPOSITORY / "crds"))
    writer = writer_of(control_plane.kubeconfig)
    before = writer.get("classificationpolicy", "default")
    writer.delete("classificationpolicy", "default")
    policy = {"apiVersion": API, "kind": "ClassificationPolicy", "metadata": {"name": "default"}}
    writer.apply(policy | {"spec": POLICY})
    yield
    writer.delete("classificationpolicy", "default")
    if before is not None:
        writer.apply(policy | {"spec": before["spec"]})


@pytest.fixture
async def stage(control_plane: LocalCluster, namespace: str, tmp_path: Path, law: None) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine())
        runtime = f"{namespace}-engine"
        create_objects(control_plane, namespace, runtime, engine.port)
        writer = writer_of(control_plane.kubeconfig)
        stack.callback(writer.delete, "runtime", runtime)
        stack.callback(writer.delete, "site", f"{namespace}-closed")
        write_certificate(tmp_path / "tls")
        registry, resolver = CollectorRegistry(), Loopback()
        credentials = await act_as(control_plane, namespace)
        gateway = await stack.enter_async_context(
            Gateway(
                # No agent proves anew here, and with refusals that are remembered a test may outlast a proof.
                build_settings(tmp_path, proof_max_age_seconds=3600),
                credentials,
                telemetry.setup_metrics("gateway", registry=registry),
                resolver=resolver,
            )
        )
        trust = ssl.create_default_context(cafile=str(tmp_path / "tls/tls.crt"))
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)))
        stage = Stage(ApiServer(), engine, gateway, session, resolver, tmp_path, trust, registry, "")
        stage.cluster, stage.namespace = control_plane, namespace

        async def is_ready() -> bool:
            return (await stage.ready())[0] == 200

        await stage.settle(is_ready, what="the gateway to be ready with the chart's rights")
        stage.token = stage.real_token()
        yield stage
        for kind in ("clusterrole", "clusterrolebinding"):
            for name in [item["metadata"]["name"] for item in writer.list(kind)]:
                if name.startswith(f"{namespace}-"):
                    writer.delete(kind, name)


def create_objects(cluster: LocalCluster, namespace: str, runtime: str, port: int) -> None:
    image, site = f"registry.example/engine@sha256:{'0' * 64}", f"{namespace}-closed"
    predictor = {"model": {"modelFormat": {"name": "gguf"}, "storageUri": "oci://registry.example/m:1"}}
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": namespace}},
        {"apiVersion": API, "kind": "Runtime", "metadata": {"name": runtime},
         "spec": {"formats": [{"name": "gguf"}], "image": image, "port": port}},
        {"apiVersion": API, "kind": "Site", "metadata": {"name": site},
         "spec": {"tier": "Closed", "jurisdiction": "JP", "operatedBy": "us", "nodes": {"matchLabels": {"a": "b"}}}},
        {"apiVersion": API, "kind": "InferenceService", "metadata": {"name": "chat", "namespace": namespace},
         "spec": {"predictor": predictor}},
    ]  # fmt: skip
    writer = writer_of(cluster.kubeconfig)
    for item in items:
        writer.apply(item)
    service = build_service("chat", namespace, site=site)
    create_pod(cluster, service, port=port)
    status = service["status"]
    status["class"] |= {"display": "confidential+gdpr"}
    status["runtime"] = runtime
    for item in status["conditions"]:
        item["lastTransitionTime"] = "2026-10-01T00:00:00Z"
    writer.patch("isvc", "chat", {"status": status}, namespace=namespace, subresource="status")


def create_pod(cluster: LocalCluster, service: dict[str, Any], *, port: int) -> None:
    """Create a pod of a service as operator, depot and kubelet leave it; no node runs it here."""
    pod = build_pod(service, port=port)
    del pod["spec"]["nodeName"]
    pod["metadata"].pop("uid")
    for container in pod["spec"]["containers"]:
        container["image"] = "registry.example/engine:1"
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    writer = writer_of(cluster.kubeconfig)
    writer.apply({"apiVersion": "v1", "kind": "Pod", **pod})
    pod["status"]["podIPs"] = [{"ip": pod["status"]["podIP"]}]
    writer.patch("pod", name, {"status": pod["status"]}, namespace=namespace, subresource="status")


async def test_rights_open_step_by_step_and_only_the_last_step_relays(stage: Stage) -> None:
    answer = await stage.until(404, what="a refusal without rights")
    assert answer.code == "model_unknown"
    assert f'there is no model "{stage.model}" that you may use' in answer.message
    stage.bind("app", inferenceservices={"resourceNames": ["chat"]})
    answer = await stage.until(403, what="the right to use the service")
    assert answer.code == "class_above_ceiling"
    assert "the request is confidential+gdpr; your ceiling is below every level" in answer.message
    stage.bind("app", classificationlevels={"resourceNames": ["restricted"]})
    for _ in range(600):
        answer = await stage.until(403, what="the missing compartment")
        if "your ceiling is restricted" in answer.message:
            break
        await asyncio.sleep(0.5)
    assert answer.message.endswith('the right to "use" compartments/gdpr of inference.sekisho.dev.')
    assert not stage.engine.requests
    stage.bind("app", compartments={"resourceNames": ["gdpr"]})
    answer = await stage.until(200, what="the right to the compartment")
    assert answer.json["model"] == stage.model
    listing = await stage.send("/v1/models", method="GET")
    assert [item["id"] for item in listing.json["data"]] == [stage.model]
    entries = await stage.entries()
    relayed = next(item for item in entries if item.get("decision") == "relayed")
    assert relayed["caller"]["username"] == f"system:serviceaccount:{stage.namespace}:app"
    assert relayed["class"] == "confidential.gdpr"
    assert relayed["policy"].startswith("sha256:")


async def test_real_tokens_of_other_audiences_and_callers_without_rights_are_refused(stage: Stage) -> None:
    for audience in ("sekisho-depot", "https://kubernetes.default.svc"):
        answer = await stage.chat(build_chat(model=stage.model), token=stage.real_token(audience=audience))
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert "it is for another audience" in answer.message
    head, claims, signature = stage.real_token().split(".")
    forged = f"{head}.{claims}.{signature[:-8]}AAAAAAAA"
    answer = await stage.chat(build_chat(model=stage.model), token=forged)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert "it is not valid" in answer.message
    answer = await stage.chat(build_chat(model=stage.model), token=stage.real_token("other"))
    assert (answer.status, answer.code) == (404, "model_unknown")
    assert not stage.engine.requests


async def test_a_token_of_an_account_that_was_deleted_is_refused_once_forgotten(stage: Stage) -> None:
    token = stage.real_token("other")
    stage.writer.delete("serviceaccount", "other", namespace=stage.namespace)
    answer = await stage.until(401, what="the account's token to be refused", token=token)
    assert "it is not valid" in answer.message


async def test_a_service_that_stops_being_isolated_is_no_longer_relayed_to(stage: Stage) -> None:
    stage.bind("app", inferenceservices={}, classificationlevels={}, compartments={})
    await stage.until(200, what="the rights")
    conditions = [
        {"type": "Isolated", "status": "False", "reason": "IsolationLeak", "message": "outside was reached by icmp"},
        {"type": "Ready", "status": "False", "reason": "IsolationLeak", "message": "outside was reached by icmp"},
    ]
    patch = {"status": {"conditions": [item | {"lastTransitionTime": "2026-10-01T00:00:00Z"} for item in conditions]}}
    stage.writer.patch("isvc", "chat", patch, namespace=stage.namespace, subresource="status")
    answer = await stage.until(503, what="the change to arrive")
    assert answer.code == "model_not_ready"
    assert "Isolated is False: IsolationLeak: outside was reached by icmp" in answer.message


async def test_a_tenants_budget_is_spent_by_that_tenant_alone_and_ends_with_its_policy(stage: Stage) -> None:
    for account in ("app", "other"):
        stage.bind(account, inferenceservices={}, classificationlevels={}, compartments={})
    other = stage.real_token("other")
    await stage.until(200, what="the rights")
    await stage.until(200, what="the other's rights", token=other)
    spec = {
        "subjects": [{"user": f"serviceaccount:{stage.namespace}:{account}"} for account in ("app", "other")],
        "models": [stage.model],
        "budgets": {"requestsPerMinute": 3},
    }
    meta = {"name": "team", "namespace": stage.namespace}
    stage.writer.apply({"apiVersion": API, "kind": "AccessPolicy", "metadata": meta, "spec": spec})
    answer = await stage.until(429, what="the budget to be spent")
    assert answer.code == "budget_exhausted"
    named = f"your budget under AccessPolicy {stage.namespace}/team of 3 requests a minute is used up"
    assert named in answer.message
    assert int(answer.headers["Retry-After"]) >= 1
    before = len(stage.engine.requests)
    assert (await stage.chat(build_chat(model=stage.model), token=other)).status == 200
    assert len(stage.engine.requests) == before + 1
    refused = [item for item in await stage.entries() if item.get("reason") == "BudgetExhausted"]
    assert {item["caller"]["username"] for item in refused} == {f"system:serviceaccount:{stage.namespace}:app"}
    stage.writer.delete("accesspolicy", "team", namespace=stage.namespace)
    await stage.until(200, what="the policy to be gone")


async def test_that_a_service_is_in_use_is_written_with_the_rights_of_the_chart_and_nothing_else_is(
    stage: Stage,
) -> None:
    stage.bind("app", inferenceservices={}, classificationlevels={}, compartments={})
    stage.writer.patch("isvc", "chat", {"spec": {"predictor": {"minReplicas": 0}}}, namespace=stage.namespace)
    await stage.until(200, what="the rights")

    async def read() -> dict[str, Any]:
        words = ("-n", stage.namespace, "get", "isvc", "chat", "--show-managed-fields", "-o", "json")
        text = await asyncio.to_thread(stage.cluster.kubectl, *words)
        found: dict[str, Any] = json.loads(text)
        return found

    async def is_told() -> bool:
        # The gateway learns by its watch that the service may rest; each request before that is none that keeps it up.
        assert (await stage.chat(build_chat(model=stage.model))).status == 200
        return "demand" in (await read())["status"]

    await stage.settle(is_told, what="the use to be told")
    live = await read()
    assert live["status"]["demand"]["by"] == "gateway-0"
    assert live["status"]["class"]["display"] == "confidential+gdpr"
    (own,) = [item for item in live["metadata"]["managedFields"] if item["manager"] == "sekisho-gateway"]
    assert (own["operation"], own["subresource"]) == ("Apply", "status")
    assert list(own["fieldsV1"]["f:status"]) == ["f:demand"]


@asynccontextmanager
async def teller(credentials: Credentials, name: str) -> AsyncIterator[tuple[Facts, Asking, asyncio.Task[None]]]:
    """Run what one replica of the gateway knows of services, and tells of them; the task is what it tells by."""
    async with KubeClient(credentials, process="test") as client:
        facts = Facts(client, Freshness())
        asking = Asking(client, facts, by=name)
        tasks = [asyncio.create_task(asking.run()), asyncio.create_task(facts.run())]
        try:
            yield facts, asking, tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(look: Callable[[], Any], *, what: str) -> None:
    async with asyncio.timeout(300):
        while not look():
            await asyncio.sleep(0.1)
    assert look(), what


def find_rest(facts: Facts, namespace: str) -> Rest | None:
    try:
        found = facts.find(namespace, "chat")
    except SekishoError:  # nothing is known yet
        return None
    return found.rest if found is not None else None


async def test_replicas_that_tell_together_tell_no_more_than_it_takes_and_one_goes_on_without_the_other(
    control_plane: LocalCluster, namespace: str, law: None
) -> None:
    credentials = await act_as(control_plane, namespace)
    predictor = {
        "model": {"modelFormat": {"name": "gguf"}, "storageUri": "oci://registry.example/m:1"},
        "minReplicas": 0, "idleSeconds": 12,
    }  # fmt: skip
    rests = {
        "apiVersion": API, "kind": "InferenceService", "metadata": {"name": "chat", "namespace": namespace},
        "spec": {"predictor": predictor},
    }  # fmt: skip
    writer = writer_of(control_plane.kubeconfig)
    writer.apply(rests)
    me, mark, began = f"system:serviceaccount:{namespace}:gateway", control_plane.audit.mark(), time.monotonic()

    def told() -> list[int]:
        return [item.status for item in control_plane.audit.writes(mark, user=me)]

    async with teller(credentials, "first") as one, teller(credentials, "second") as other:
        for facts, _, _ in (one, other):
            await until(lambda facts=facts: find_rest(facts, namespace) is not None, what="the service to be known")  # type: ignore[misc]
        one_use, other_use = (asking.using(facts.find(namespace, "chat")) for facts, asking, _ in (one, other))  # type: ignore[arg-type]
        with other_use:
            one_use.__enter__()
            await until(lambda: len(told()) >= 4, what="both to tell again and again")
            assert set(told()) == {200}, "two replicas never meet in a conflict"
            windows = (time.monotonic() - began) / find_interval_seconds(12) + 1
            assert len(told()) <= 2 * windows
            one[2].cancel()  # as a replica ends that is killed: its use is never over
            before = len(told())
            await until(lambda: len(told()) >= before + 2, what="the other to go on")
            assert writer.need("isvc", "chat", namespace=namespace)["status"]["demand"]["by"] == "second"
        at_its_end = len(told())
        await until(lambda: not other[1]._uses, what="the last use to be forgotten")
        assert len(told()) <= at_its_end + 1
    for kind in ("clusterrole", "clusterrolebinding"):
        writer.delete(kind, f"{namespace}-gateway")
