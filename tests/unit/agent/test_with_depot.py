"""Agent and depot together over real TLS on loopback; only the API server is simulated."""

import asyncio
import hashlib
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from sekisho.agent.loop import Agent, AgentPaths
from sekisho.agent.server import build_server
from sekisho.agent.state import AgentState
from sekisho.api.names import ISOLATED_POD_CONDITION, WEIGHTS_POD_CONDITION
from sekisho.depot import server
from sekisho.depot.cluster import WeightsWish
from sekisho.depot.process import RunningDepot, run_depot
from sekisho.depot.settings import DepotSettings
from sekisho.errors import Reason
from sekisho.kube.pods import PodIdentity
from tests.unit.depot.parts import (
    NAMESPACE,
    SERVICE,
    TOKEN,
    FileServer,
    Keys,
    SimulatedCluster,
    build_keys,
    build_pod,
    serve_files,
    settle,
)

DATA = os.urandom(2 << 20)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
NAME = "sekisho-depot.sekisho-system.svc"
# A broadcast address: the kernel refuses to send there, so no packet of a test leaves the machine.
SILENT: dict[str, Any] = {"name": "outside", "host": "255.255.255.255", "port": 80, "protocols": ["tcp", "udp"]}


@dataclass(repr=False)  # asyncio spells what a fixture gave whenever it looks at signal handlers
class Stage:
    """Everything that one test plays with."""

    cluster: SimulatedCluster
    depot: RunningDepot
    agent: Agent
    folder: Path
    config: dict[str, Any]
    server: FileServer

    def write_config(self, **changes: Any) -> None:
        self.config.update(changes)
        (self.folder / "agent.json").write_text(json.dumps(self.config))
        self.cluster.configs[NAMESPACE, SERVICE] = dict(self.config)
        self.depot.api.proofs._configs.clear()

    async def step(self) -> float:
        return await asyncio.to_thread(self.agent.take_step)

    @property
    def models(self) -> list[str]:
        root = self.folder / "models"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    keys = build_keys(tmp_path / "tls", NAME, "127.0.0.1")
    (tmp_path / "ca.crt").write_bytes(keys.ca.read_bytes())
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "models").mkdir()
    cluster = SimulatedCluster()
    cluster.add_pod(build_pod(), TOKEN)
    with serve_files(FileServer({"/models/model.gguf": DATA}), keys) as server:
        (tmp_path / "sources.json").write_text(
            json.dumps([{"prefix": f"https://{server.host}/models", "caFile": str(keys.ca)}])
        )
        cluster.wishes[NAMESPACE, SERVICE] = WeightsWish(f"https://{server.host}/models/model.gguf", DIGEST, 1 << 30)
        settings = DepotSettings(
            cache_bytes=64 << 20, cache_dir=tmp_path / "cache", sources_file=tmp_path / "sources.json",
            tls_dir=tmp_path / "tls", host="127.0.0.1", https_port=0, health_port=0, canary_port=0,
        )  # fmt: skip
        async with run_depot(settings, cluster, meter=NoOpMeter("test")) as depot:
            paths = AgentPaths(config=tmp_path / "agent.json", ca=tmp_path / "ca.crt", token=tmp_path / "token")
            agent = Agent(paths=paths, state=AgentState(), host_ip="10.9.0.2")
            config = {
                "namespace": NAMESPACE, "service": SERVICE,
                "depot": {"host": "127.0.0.1", "port": depot.https_port, "serverName": NAME},
                "canaries": [SILENT], "proofIntervalSeconds": 20, "proofMaxAgeSeconds": 90,
                "weights": {"mode": "depot", "path": str(tmp_path / "models")},
                "engine": {"port": 8080, "healthPath": "/health"},
            }  # fmt: skip
            stage = Stage(cluster, depot, agent, tmp_path, config, server)
            stage.write_config()
            yield stage
            agent.stop.set()
            await asyncio.to_thread(agent.run)


def open_port() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    return listener


def reachable(port: int) -> dict[str, Any]:
    return {"name": "leaky", "host": "127.0.0.1", "port": port, "protocols": ["tcp"]}


async def test_a_pod_that_can_reach_a_canary_gets_nothing_and_says_why(stage: Stage) -> None:
    with open_port() as listener:
        stage.write_config(canaries=[SILENT, reachable(listener.getsockname()[1])])
        wait = await stage.step()
    health = stage.agent.state.startup()
    assert (health.ok, health.reason) == (False, Reason.ISOLATION_LEAK)
    assert 'canary "leaky" (127.0.0.1 port' in health.message
    assert wait < 20
    condition = stage.cluster.condition(ISOLATED_POD_CONDITION)
    assert (condition["status"], condition["reason"]) == ("False", "IsolationLeak")
    assert "answered by tcp" in condition["message"]
    assert stage.models == []
    assert stage.server.requests == []


async def test_an_agent_that_leaves_a_canary_out_is_found_out_by_the_depot(stage: Stage) -> None:
    other = SILENT | {"name": "second", "port": 81}
    stage.write_config(canaries=[SILENT, other])
    (stage.folder / "agent.json").write_text(json.dumps(stage.config | {"canaries": [SILENT]}))
    await stage.step()
    health = stage.agent.state.startup()
    assert (health.ok, health.reason) == (False, Reason.ISOLATION_PROOF_INCOMPLETE)
    assert 'canary "second" (255.255.255.255 port 81) was not tried by tcp' in health.message
    assert stage.cluster.condition(ISOLATED_POD_CONDITION)["reason"] == "IsolationProofIncomplete"


@pytest.mark.slow
async def test_a_canary_that_moves_stops_no_proven_pod_while_its_list_is_behind_but_not_for_ever(stage: Stage) -> None:
    await stage.step()
    await settle(lambda: stage.agent.state.startup().ok)
    behind = json.dumps(stage.config)
    stage.write_config(canaries=[SILENT | {"port": 81}])
    (stage.folder / "agent.json").write_text(behind)
    proofs, real = stage.depot.api.proofs, stage.depot.api.proofs.clock
    for later, status in ((0, "True"), (100, "True"), (200, "False")):
        proofs.clock = lambda later=later: real() + later
        await stage.step()
        assert stage.agent.state.isolation().ok
        assert stage.models == ["model.gguf"]
        assert stage.cluster.condition(ISOLATED_POD_CONDITION)["status"] == status
        assert stage.cluster.condition(WEIGHTS_POD_CONDITION)["status"] == "True"
    assert stage.cluster.condition(ISOLATED_POD_CONDITION)["reason"] in {
        "IsolationProofIncomplete",
        "IsolationProofStale",
    }
    proofs.clock = real
    (stage.folder / "agent.json").write_text(json.dumps(stage.config))
    await stage.step()
    assert stage.cluster.condition(ISOLATED_POD_CONDITION)["status"] == "True"


async def test_a_pod_that_was_seen_at_the_depots_canary_is_not_isolated_whatever_it_says(stage: Stage) -> None:
    stage.depot.canary.note("10.8.0.5")
    await stage.step()
    health = stage.agent.state.startup()
    assert (health.ok, health.reason) == (False, Reason.ISOLATION_LEAK)
    assert "the depot's own canary was reached from 10.8.0.5" in health.message
    await stage.step()
    assert stage.agent.state.isolation().ok


@pytest.mark.parametrize(
    ("token", "reason", "message"),
    [
        ("stolen", Reason.UNAUTHENTICATED, "the token is not valid"),
        ("other-uid", Reason.POD_NOT_KNOWN, "made for another pod"),
        ("other-account", Reason.POD_NOT_KNOWN, "runs as default, not as chat-predictor"),
        ("gone", Reason.POD_NOT_KNOWN, "does not exist or is ending"),
        ("stranger", Reason.POD_NOT_KNOWN, "belongs to no InferenceService"),
    ],
)
async def test_a_token_that_is_not_the_pods_own_is_refused(
    stage: Stage, token: str, reason: Reason, message: str
) -> None:
    stage.cluster.tokens |= {
        "other-uid": PodIdentity(NAMESPACE, "chat-predictor", "chat-0", "uid-of-a-namesake"),
        "other-account": PodIdentity(NAMESPACE, "default", "chat-0", "uid-0"),
        "gone": PodIdentity(NAMESPACE, "chat-predictor", "chat-9", "uid-9"),
        "stranger": PodIdentity(NAMESPACE, "default", "web-0", "uid-8"),
    }
    stage.cluster.pods[NAMESPACE, "web-0"] = build_pod(name="web-0", uid="uid-8", service="", service_account="default")
    (stage.folder / "token").write_text(token)
    await stage.step()
    health = stage.agent.state.startup()
    assert (health.ok, health.reason) == (False, reason)
    assert message in health.message
    assert stage.cluster.writes == []


async def test_a_depot_with_another_authority_is_not_spoken_to(stage: Stage, tmp_path: Path) -> None:
    other: Keys = build_keys(tmp_path / "other", NAME)
    (stage.folder / "ca.crt").write_bytes(other.ca.read_bytes())
    await stage.step()
    health = stage.agent.state.startup()
    assert (health.ok, health.reason) == (False, Reason.DEPOT_UNREACHABLE)
    assert "its certificate is not trusted" in health.message
    assert stage.cluster.reviews == 0


async def test_a_depot_with_another_name_is_not_spoken_to(stage: Stage) -> None:
    depot = stage.config["depot"] | {"serverName": "elsewhere.svc"}
    stage.write_config(depot=depot)
    await stage.step()
    assert "its certificate is not trusted" in stage.agent.state.startup().message
    assert stage.cluster.reviews == 0


@pytest.mark.slow
async def test_a_proven_pod_gets_its_weights_verified_and_read_only(stage: Stage) -> None:
    await stage.step()
    assert stage.agent.state.isolation().ok
    await settle(lambda: stage.agent.state.startup().ok)
    file = stage.folder / "models" / "model.gguf"
    assert file.read_bytes() == DATA
    assert file.stat().st_mode & 0o777 == 0o444
    assert stage.models == ["model.gguf"]
    isolated, weights = (stage.cluster.condition(kind) for kind in (ISOLATED_POD_CONDITION, WEIGHTS_POD_CONDITION))
    assert (isolated["status"], isolated["reason"]) == ("True", "IsolationProven")
    assert (weights["status"], weights["reason"]) == ("True", "WeightsAvailable")
    assert DIGEST in weights["message"]


@pytest.mark.slow
async def test_a_leak_later_takes_the_weights_away_and_recovery_brings_them_back(stage: Stage) -> None:
    await stage.step()
    await settle(lambda: stage.agent.state.startup().ok)
    with open_port() as listener:
        stage.write_config(canaries=[SILENT, reachable(listener.getsockname()[1])])
        await stage.step()
    assert not stage.agent.state.isolation().ok
    assert stage.models == []
    assert stage.cluster.condition(ISOLATED_POD_CONDITION)["status"] == "False"
    stage.write_config(canaries=[SILENT])
    await stage.step()
    await settle(lambda: stage.agent.state.startup().ok)
    assert stage.models == ["model.gguf"]
    assert stage.cluster.condition(ISOLATED_POD_CONDITION)["status"] == "True"


@pytest.mark.slow
async def test_an_outage_of_the_api_server_stops_no_proven_pod_but_lets_no_new_one_in(stage: Stage) -> None:
    stage.cluster.down = True
    await stage.step()
    assert stage.agent.state.startup().reason is Reason.API_UNAVAILABLE
    stage.cluster.down = False
    await stage.step()
    await settle(lambda: stage.agent.state.startup().ok)
    stage.cluster.down = True
    for _ in range(3):
        await stage.step()
    assert stage.agent.state.isolation().ok
    assert stage.models == ["model.gguf"]


@pytest.mark.slow
async def test_many_good_proofs_cause_one_write(stage: Stage) -> None:
    for _ in range(5):
        await stage.step()
    await settle(lambda: stage.agent.state.startup().ok)
    written = [condition for _, condition in stage.cluster.writes if condition.type == ISOLATED_POD_CONDITION]
    assert len(written) == 1


@pytest.mark.slow
async def test_a_source_that_lies_ends_in_the_condition_and_not_in_the_pod(stage: Stage) -> None:
    stage.server.files["/models/model.gguf"] = b"x" * len(DATA)
    await stage.step()
    await settle(lambda: stage.agent.state.weights().reason is Reason.DIGEST_MISMATCH)
    condition = stage.cluster.condition(WEIGHTS_POD_CONDITION)
    assert (condition["status"], condition["reason"]) == ("False", "DigestMismatch")
    assert DIGEST in condition["message"]
    assert stage.models == []


@pytest.mark.slow
async def test_a_pod_gets_only_its_own_files_and_none_before_its_proof(stage: Stage) -> None:
    from sekisho.agent.transport import ServerAccess, ask_weights, open_blob  # noqa: PLC0415
    from sekisho.errors import SekishoError  # noqa: PLC0415

    stage.cluster.add_pod(replace(build_pod(), name="chat-1", uid="uid-1"), "token-1")
    (stage.folder / "token-1").write_text("token-1")
    await stage.step()
    access = ServerAccess(
        address=configured(stage), token_file=stage.folder / "token-1", ca_file=stage.folder / "ca.crt"
    )
    await settle(lambda: stage.agent.state.startup().ok)

    def ask() -> None:
        ask_weights(access)

    def fetch() -> None:
        with open_blob(access, DIGEST, offset=0) as response:
            response.read()

    for action in (ask, fetch):
        with pytest.raises(SekishoError) as caught:
            await asyncio.to_thread(action)
        assert caught.value.reason is Reason.ISOLATION_NOT_PROVEN
        assert "has not proven its isolation yet" in caught.value.message
    own = ServerAccess(access.address, token_file=stage.folder / "token", ca_file=stage.folder / "ca.crt")

    def steal() -> None:
        with open_blob(own, f"sha256:{'1' * 64}", offset=0):
            pass

    with pytest.raises(SekishoError) as caught:
        await asyncio.to_thread(steal)
    assert caught.value.reason is Reason.NOT_ALLOWED


def configured(stage: Stage, field: str = "depot") -> Any:
    return getattr(stage.agent.config, field, None)


def get(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.slow
async def test_the_kubelets_questions_are_answered_with_reasons(stage: Stage) -> None:
    engine = FileServer({"/health": b"ok"})
    with serve_files(engine, None):
        stage.write_config(engine={"port": int(engine.host.rpartition(":")[2]), "healthPath": "/health"})
        server = build_server(("127.0.0.1", 0), stage.agent.state, engine=lambda: configured(stage, "engine"))
        base = f"http://127.0.0.1:{server.server_address[1]}"
        thread = asyncio.create_task(asyncio.to_thread(server.serve_forever, 0.02))

        async def ask(path: str) -> tuple[int, dict[str, Any]]:
            return await asyncio.to_thread(get, base + path)

        assert (await ask("/startup"))[0] == (await ask("/engine-live"))[0] == 503
        assert (await ask("/startup"))[1]["reason"] == "IsolationPending"
        assert (await ask("/healthz"))[0] == 200
        assert (await ask("/other"))[0] == 404
        await stage.step()
        await settle(lambda: stage.agent.state.startup().ok)
        assert (await ask("/startup"))[0] == (await ask("/engine-live"))[0] == 200
        engine.status = 500
        status, body = await ask("/engine-live")
        assert (status, body["reason"]) == (503, "EngineCrashing")
        assert body["message"] == "the engine's health endpoint answered 500"
        server.shutdown()
        await thread
        server.server_close()


async def test_weights_from_a_claim_need_the_proof_alone(stage: Stage) -> None:
    stage.write_config(weights={"mode": "mounted", "path": "/models"})
    await stage.step()
    assert stage.agent.state.startup().reason is Reason.WEIGHTS_MOUNTED
    assert stage.cluster.condition(WEIGHTS_POD_CONDITION)["reason"] == "WeightsMounted"


async def test_a_broken_configuration_ends_isolation_and_is_named(stage: Stage) -> None:
    await stage.step()
    (stage.folder / "agent.json").write_text("{")
    await stage.step()
    health = stage.agent.state.startup()
    assert (health.ok, health.reason) == (False, Reason.INVALID_SPEC)
    assert health.message == "agent.json cannot be used: it is not JSON"


async def test_health_and_canary_answer(stage: Stage) -> None:
    await settle(lambda: not stage.depot.readiness.problem)
    status, body = await asyncio.to_thread(get, f"http://127.0.0.1:{stage.depot.health_port}/readyz")
    assert (status, body["ok"]) == (200, True)

    def echo() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(60)
            sock.sendto(b"nonce", ("127.0.0.1", stage.depot.canary.port))
            return sock.recv(100)

    assert await asyncio.to_thread(echo) == b"nonce"
    assert await stage.depot.canary.check() == ""
    await stage.depot.canary.stop()
    assert "does not answer" in await stage.depot.canary.check()


async def test_whoever_asks_for_blobs_and_takes_none_keeps_no_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_STALLED_SECONDS", 1)
    large = os.urandom(24 << 20)
    digest = f"sha256:{hashlib.sha256(large).hexdigest()}"
    stage.server.files["/models/large.gguf"] = large
    stage.cluster.wishes[NAMESPACE, SERVICE] = WeightsWish(
        f"https://{stage.server.host}/models/large.gguf", digest, 1 << 30
    )
    await stage.step()
    await settle(lambda: stage.agent.state.weights().ok)
    context = ssl.create_default_context(cafile=str(stage.folder / "ca.crt"))
    ask = f"GET /v1/blobs/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    api = stage.depot.api

    def begin() -> ssl.SSLSocket:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", stage.depot.https_port))
        line = context.wrap_socket(raw, server_hostname=NAME)
        line.sendall(ask)
        return line

    lines = [await asyncio.to_thread(begin) for _ in range(8)]
    try:
        await settle(lambda: api._downloads.total() == 8)
        one_more = await asyncio.to_thread(begin)
        lines.append(one_more)
        assert b"429" in (await asyncio.to_thread(one_more.recv, 4096)).partition(b"\r\n")[0]
        await settle(lambda: api._downloads.total() == 0)
        assert api._downloads == {}
    finally:
        for line in lines:
            line.close()
