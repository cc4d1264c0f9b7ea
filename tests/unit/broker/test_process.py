"""The broker as a process: over TLS, with a record on a disk, and silent about everything but a reason."""

import asyncio
import base64
import json
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter
from prometheus_client import CollectorRegistry

from sekisho.attest.binding import Binding
from sekisho.broker.process import RunningBroker, Surface, run_broker
from sekisho.broker.releasefacts import ReleaseRules
from sekisho.broker.settings import BrokerSettings
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.seal.canonical import encode_canonical
from sekisho.telemetry import render_metrics, setup_metrics
from tests.unit.broker.parts import DATA_KEY, POD, TOKEN, Agent, Raw, World, identity_of
from tests.unit.depot.parts import Keys, build_keys, settle
from tests.unit.recording.reading import read_record


@dataclass
class SimulatedRules:
    """What grants, as the watches show it."""

    world: World
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        await self.stop.wait()

    def age_seconds(self) -> float:
        return 1.5 if self.world.rules_trouble is None else float("inf")

    def rules(self) -> ReleaseRules:
        return self.world.read_rules()


@dataclass(repr=False)
class Scene:
    """A broker that runs, and an agent that speaks to it by HTTP."""

    folder: Path
    tls: Keys
    world: World
    agent: Agent
    running: RunningBroker
    token: str = TOKEN

    async def post(
        self, path: str, body: bytes, *, token: str | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        return await asyncio.to_thread(self._post, path, body, self.token if token is None else token)

    def _post(self, path: str, body: bytes, token: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        url = f"https://127.0.0.1:{self.running.https_port}{path}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        try:
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.status, json.loads(answer.read()), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read()), dict(error.headers)

    async def ask(self, purpose: str = "release") -> Raw:
        body = encode_canonical({"purpose": purpose, "question": self.agent.build_question()})
        status, challenge, _ = await self.post("/v1/challenge", body)
        assert status == 200, challenge
        return challenge

    async def answer(
        self, path: str = "/v1/keys", purpose: str = "release"
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        challenge = await self.ask(purpose)
        body = self.agent.build_answer(challenge, await self.agent.identify(), purpose)
        return await self.post(path, encode_canonical(body))

    async def health(self, path: str) -> tuple[int, dict[str, Any]]:
        def ask() -> tuple[int, dict[str, Any]]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.running.health_port}{path}", timeout=60) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.loads(error.read())

        return await asyncio.to_thread(ask)


def place(world: World, address: str = "127.0.0.1") -> None:
    world.pod()["status"]["podIPs"] = [{"ip": address}]


@pytest.fixture
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """A broker; a parameter changes its settings."""
    tls = build_keys(tmp_path / "tls", "127.0.0.1")
    world = World()
    place(world)
    settings = BrokerSettings(
        bind="127.0.0.1", https_port=0, health_port=0, tls_dir=tmp_path / "tls", record_dir=tmp_path / "record",
        collateral_dir=tmp_path / "collateral", pod_name="broker-0", kms_seconds=60, record_seconds=60,
        **getattr(request, "param", {}),
    )  # fmt: skip
    surface = Surface(
        world.cluster,
        SimulatedRules(world),
        world.vault.open,
        world.maker.verify,
    )
    async with run_broker(settings, surface, meter=NoOpMeter("test")) as running:
        # the processes' clock is the real one: the world's follows
        agent = Agent(world)
        world.clock.seconds = _real_seconds()
        yield Scene(tmp_path, tls, world, agent, running)


def _real_seconds() -> float:
    from datetime import UTC, datetime  # noqa: PLC0415 - used here alone

    from tests.unit.broker.parts import START  # noqa: PLC0415

    return (datetime.now(UTC) - START).total_seconds()


async def test_a_pod_gets_its_key_renews_and_lets_go_over_one_wire(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[Binding] = []
    scene.agent.bind = lambda binding: (seen.append(binding), binding)[1]
    status, answer, headers = await scene.answer()
    assert status == 200, answer
    assert headers["Cache-Control"] == "no-store"
    assert scene.agent.open(answer, seen[0]) == DATA_KEY
    assert answer["lease"]["seconds"] == 600
    status, renewed, _ = await scene.answer("/v1/renew", "renew")
    assert (status, set(renewed)) == (200, {"lease", "policyDigest", "evidenceDigest"})
    status, gone, _ = await scene.answer("/v1/evicted", "evicted")
    assert (status, gone) == (200, {})
    await scene.running.broker.settle()
    entries = read_record(scene.folder / "record")
    assert [entry["kind"] for entry in entries] == ["opened", "release", "renew", "evicted"]
    told = json.dumps(entries) + "".join(f"{item.getMessage()}{item.__dict__}" for item in caplog.records)
    for secret in (DATA_KEY.hex(), base64.b64encode(DATA_KEY).decode(), TOKEN):
        assert secret not in told


REFUSALS: dict[str, tuple[Callable[[Scene], object], int, str, str]] = {
    "a debug guest": (
        lambda s: setattr(s.world.machine, "debug", True), 403, "DebugEnabled", "the environment can be looked into"),
    "a machine of nobody": (
        lambda s: s.world.maker.machines.clear(), 403, "EvidenceUntrusted",
        "a signature or chain of the evidence does not hold"),
    "an edited pod": (
        lambda s: s.world.pod()["spec"].update(hostNetwork=True), 403, "WorkloadMismatch",
        "the pod is not what its controller made, or not where it says it is"),
    "another manifest": (
        lambda s: s.agent.question.update(version=6), 403, "VersionRolledBack",
        "the version of the model is older than its owner allows"),
    "a broken key service": (
        lambda s: setattr(s.world.vault, "trouble", UnavailableError(Reason.KMS_UNAVAILABLE, "secret details")), 503,
        "KmsUnavailable", "the key service gives no usable answer; ask again"),
    "a bug of a key service's client": (
        lambda s: setattr(s.world.vault, "trouble", ZeroDivisionError("secret details")), 503, "KmsUnavailable",
        "the key service gives no usable answer; ask again"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_says_a_reason_and_one_constant_sentence(
    scene: Scene, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, status, reason, sentence = REFUSALS[case]
    spoil(scene)
    found, said, headers = await scene.answer()
    assert (found, said) == (status, {"reason": reason, "message": sentence})
    assert ("Retry-After" in headers) == (status == 503)
    assert "secret details" not in str(said)
    assert any(item.levelno >= logging.WARNING for item in caplog.records)


async def test_an_answer_to_a_challenge_is_taken_once(scene: Scene) -> None:
    body = encode_canonical(scene.agent.build_answer(await scene.ask(), await scene.agent.identify()))
    assert (await scene.post("/v1/keys", body))[0] == 200
    status, said, _ = await scene.post("/v1/keys", body)
    sentence = "the challenge is not known here any more; begin with a new one"
    assert (status, said) == (409, {"reason": "ChallengeUnknown", "message": sentence})


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [("", 401, "Unauthenticated"), ("stolen", 401, "Unauthenticated"), ("gone", 403, "PodNotKnown")],
)
async def test_who_is_no_pod_of_ours_gets_no_challenge(scene: Scene, token: str, status: int, reason: str) -> None:
    scene.world.api.tokens["gone"] = identity_of("chat-predictor-9", "uid-9")
    found, said, _ = await scene.post("/v1/challenge", b"{}", token=token)
    assert (found, said["reason"]) == (status, reason)


async def test_a_copied_token_is_worth_nothing_elsewhere(scene: Scene) -> None:
    place(scene.world, "10.8.0.5")
    status, said, _ = await scene.post("/v1/challenge", b"{}")
    assert (status, said["reason"]) == (403, "WorkloadMismatch")


async def test_an_address_of_version_six_that_holds_one_of_version_four_is_the_same(scene: Scene) -> None:
    place(scene.world, "::ffff:127.0.0.1")
    assert (await scene.answer())[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/v1/challenge", b"", 400, "SealInvalid"),
        ("/v1/challenge", b'{"purpose":"steal","question":{}}', 400, "RequestInvalid"),
        ("/v1/keys", b"{}", 400, "SealInvalid"),
        ("/v1/renew", b"[]", 400, "SealInvalid"),
        ("/v1/evicted", b'{ "a":1}', 400, "SealInvalid"),
        ("/v1/keys", b" " * ((1 << 20) + 1), 413, "RequestTooLarge"),
        ("/v1/release", b"{}", 404, "EndpointUnknown"),
    ],
)
async def test_what_cannot_be_read_is_refused(scene: Scene, path: str, body: bytes, status: int, reason: str) -> None:
    found, said, _ = await scene.post(path, body)
    assert (found, said["reason"]) == (status, reason)


@pytest.mark.parametrize("scene", [{"requests_per_second": 0.5}], indirect=True)  # slower than any machine asks
async def test_one_pod_cannot_ask_without_end(scene: Scene) -> None:
    codes = [(await scene.post("/v1/challenge", b"{}"))[0] for _ in range(16)]
    assert codes[0] != 429
    assert codes[-1] == 429


@pytest.mark.slow
async def test_it_is_ready_while_grants_are_known_and_decisions_can_be_recorded(scene: Scene) -> None:
    await settle(lambda: not scene.running.readiness.problem)
    assert (await scene.health("/readyz"))[0] == 200
    scene.world.rules_trouble = UnavailableError(Reason.API_UNAVAILABLE, "what the broker knows of grants is too old")

    await settle(lambda: "too old" in scene.running.readiness.problem)
    assert (await scene.health("/readyz"))[0] == 503
    assert (await scene.health("/healthz"))[0] == 200


async def test_a_record_that_cannot_be_written_releases_nothing(tmp_path: Path) -> None:
    build_keys(tmp_path / "tls", "127.0.0.1")
    (tmp_path / "record").write_text("a file where a folder must be")
    world = World()
    place(world)
    settings = BrokerSettings(
        bind="127.0.0.1", https_port=0, health_port=0, tls_dir=tmp_path / "tls", record_dir=tmp_path / "record",
        collateral_dir=tmp_path / "collateral",
    )  # fmt: skip
    surface = Surface(world.cluster, SimulatedRules(world), world.vault.open, world.maker.verify)
    async with run_broker(settings, surface, meter=NoOpMeter("test")) as running:
        world.clock.seconds = _real_seconds()
        with pytest.raises(UnavailableError, match="no key is released that cannot be recorded") as caught:
            await Agent(world).get(running.broker)
        assert caught.value.reason is Reason.RECORD_UNAVAILABLE

        await settle(lambda: "the record cannot be written" in running.readiness.problem)
    assert world.vault.unwrapped == 0


async def test_what_runs_beside_the_release_begins_and_ends_with_it(tmp_path: Path) -> None:
    build_keys(tmp_path / "tls", "127.0.0.1")
    world = World()
    place(world)
    seen: list[str] = []

    async def beside() -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    settings = BrokerSettings(
        bind="127.0.0.1", https_port=0, health_port=0, tls_dir=tmp_path / "tls", record_dir=tmp_path / "record",
        collateral_dir=tmp_path / "collateral",
    )  # fmt: skip
    surface = Surface(world.cluster, SimulatedRules(world), world.vault.open, world.maker.verify, beside=(beside,))
    async with run_broker(settings, surface, meter=NoOpMeter("test")):
        await settle(lambda: seen == ["began"])
    assert seen == ["began", "ended"]


async def test_what_happens_is_measured(tmp_path: Path) -> None:
    build_keys(tmp_path / "tls", "127.0.0.1")
    world = World()
    place(world)
    settings = BrokerSettings(
        bind="127.0.0.1", https_port=0, health_port=0, tls_dir=tmp_path / "tls", record_dir=tmp_path / "record",
        collateral_dir=tmp_path / "collateral",
    )  # fmt: skip
    (tmp_path / "collateral").mkdir()
    (tmp_path / "collateral" / "notes.txt").write_bytes(b"x")
    registry = CollectorRegistry()
    surface = Surface(world.cluster, SimulatedRules(world), world.vault.open, world.maker.verify)
    async with run_broker(settings, surface, meter=setup_metrics("broker", registry=registry)) as running:
        world.clock.seconds = _real_seconds()
        agent = Agent(world)
        await agent.ask(running.broker)
        await agent.get(running.broker)
        text = render_metrics(registry).decode()
    assert "sekisho_broker_open_challenges 1.0" in text
    assert "sekisho_broker_collateral_unusable_items 1.0" in text
    assert "sekisho_broker_facts_age_seconds 1.5" in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SEKISHO_CHALLENGE_SECONDS", "61"),
        ("SEKISHO_RECORD_MAX", "much"),
        ("SEKISHO_HTTPS_PORT", "x"),
        ("SEKISHO_FACTS_MAX_AGE_SECONDS", "1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_its_value_is_not_told(variable: str, value: str) -> None:
    with pytest.raises(RefusedError, match=f"environment variable {variable}: ") as caught:
        BrokerSettings.read({variable: value})
    assert caught.value.reason is Reason.INVALID_SPEC
    assert POD not in caught.value.message


def test_settings_become_limits() -> None:
    settings = BrokerSettings.read({"SEKISHO_RECORD_MAX": "10Mi", "SEKISHO_KMS_SECONDS": "3", "OTHER": "x"})
    assert settings.record.max_bytes == 10 << 20
    assert settings.keys.seconds == 3
    assert (settings.freshness.watch_seconds, settings.freshness.max_age_seconds) == (10, 30.0)
