"""What the agent may rely on, whoever releases keys: the suite that the next source of keys has to pass as well.

A source is set up with one model whose key it releases to this pod. `scenes` lists the sources that there are.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from opentelemetry.metrics import NoOpMeter

from sekisho.agent.broker import Broker, BrokerKeys, Pod
from sekisho.agent.config import ServerAddress
from sekisho.agent.release import KeyRequest, KeySource, NoKeys, ReleasedKeys, wipe
from sekisho.agent.transport import ServerAccess
from sekisho.attest.binding import Binding
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.unsealing import REPORTABLE
from sekisho.broker.process import Surface, run_broker
from sekisho.broker.settings import BrokerSettings
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.seal.keys import KeyContext, encode_wrapped, parse_wrapped
from sekisho.unsafe_release.process import run_release
from sekisho.unsafe_release.settings import ReleaseSettings
from tests.unit.agent.sealed import KEY_ID, RELEASE, make_keys
from tests.unit.broker.parts import CONTEXT as BROKER_CONTEXT
from tests.unit.broker.parts import MANIFEST, POD, START, World
from tests.unit.broker.parts import NAMESPACE as BROKER_NAMESPACE
from tests.unit.broker.parts import TOKEN as BROKER_TOKEN
from tests.unit.broker.parts import Agent as BrokerAgent
from tests.unit.broker.test_process import SimulatedRules
from tests.unit.depot.parts import TOKEN, SimulatedCluster, build_keys, build_pod

KEY = bytes(range(32))
CONTEXT = KeyContext("legal/reviewer", 7, "confidential+gdpr")


@dataclass
class Scene:
    """A source, the question that it answers, and ways to take that away.

    Attributes:
        forget_pod: Makes the pod one that is not known.
        vanish: Makes the source unreachable.
        gone: The reason where it is unreachable.
        not_its_own: The reasons for which a key is not released for something else than it was wrapped for.
    """

    source: KeySource
    wanted: KeyRequest
    forget_pod: Callable[[], object]
    vanish: Callable[[], object]
    gone: Reason = Reason.KMS_UNAVAILABLE
    not_its_own: frozenset[Reason] = frozenset({Reason.KEY_MISMATCH})

    async def ask(self, wanted: KeyRequest | None = None) -> bytearray:
        return await asyncio.to_thread(self.source.ask, wanted or self.wanted)

    async def refuse(self, wanted: KeyRequest | None = None) -> SekishoError:
        with pytest.raises(SekishoError) as caught:
            await self.ask(wanted)
        assert caught.value.reason in REPORTABLE, "what the pod cannot report never reaches anybody"
        assert isinstance(caught.value, RefusedError | UnavailableError)
        assert KEY.hex() not in str(caught.value)
        assert TOKEN not in str(caught.value)
        return caught.value


@contextlib.asynccontextmanager
async def unsafe_development(folder: Path) -> AsyncIterator[Scene]:
    tls = build_keys(folder / "tls", RELEASE, "127.0.0.1")
    token = folder / "token"
    token.write_text(TOKEN)
    cluster = SimulatedCluster()
    cluster.add_pod(build_pod(), TOKEN)
    wrapped = make_keys(folder / "keys").wrap(KEY, key_id=KEY_ID, context=CONTEXT)
    settings = ReleaseSettings(
        keys_dir=folder / "keys", tls_dir=folder / "tls", host="127.0.0.1", https_port=0, health_port=0
    )
    async with run_release(settings, cluster, meter=NoOpMeter("test")) as running:
        access = ServerAccess(
            ServerAddress("127.0.0.1", running.https_port, RELEASE), token_file=token, ca_file=tls.ca,
            what="release of keys", unreachable=Reason.KMS_UNAVAILABLE, total_seconds=60.0,
        )  # fmt: skip
        wanted = KeyRequest(
            encode_wrapped(wrapped), f"sha256:{'a' * 64}", CONTEXT.model, CONTEXT.version, CONTEXT.data_class
        )
        yield Scene(ReleasedKeys(access), wanted, cluster.pods.clear, token.unlink)


@contextlib.asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[Scene]:
    """The real broker over TLS, with an API server, a machine that signs, and a key service that behave."""
    name = "sekisho-broker.sekisho-system.svc"
    tls = build_keys(folder / "tls", name, "127.0.0.1")
    token = folder / "token"
    token.write_text(BROKER_TOKEN)
    world = World()
    world.pod()["status"]["podIPs"] = [{"ip": "127.0.0.1"}]
    world.clock.seconds = (datetime.now(UTC) - START).total_seconds()
    settings = BrokerSettings(
        bind="127.0.0.1", https_port=0, health_port=0, tls_dir=folder / "tls", record_dir=folder / "record",
        collateral_dir=folder / "collateral", pod_name="broker-0", kms_seconds=60,
    )  # fmt: skip
    surface = Surface(world.cluster, SimulatedRules(world), world.vault.open, world.maker.verify)
    async with run_broker(settings, surface, meter=NoOpMeter("test")) as running:
        access = ServerAccess(
            ServerAddress("127.0.0.1", running.https_port, name), token_file=token, ca_file=tls.ca, what="broker",
            unreachable=Reason.BROKER_UNAVAILABLE, total_seconds=60.0,
        )  # fmt: skip
        pod = Pod(BROKER_NAMESPACE, POD, "uid-1")
        client = Broker(access, pod, (MachineAttester(world),), BrokerAgent(world).build_isolation)
        wanted = KeyRequest(
            encode_wrapped(world.wrapped), MANIFEST, BROKER_CONTEXT.model, BROKER_CONTEXT.version,
            BROKER_CONTEXT.data_class,
        )  # fmt: skip
        yield Scene(
            BrokerKeys(client, lambda *_: True), wanted,
            lambda: world.api.objects.pop(("pods", BROKER_NAMESPACE, POD)), token.unlink, Reason.BROKER_UNAVAILABLE,
            frozenset({Reason.KEY_MISMATCH, Reason.RELEASE_NOT_GRANTED, Reason.WORKLOAD_MISMATCH}),
        )  # fmt: skip


@dataclass(frozen=True)
class MachineAttester:
    """The machine that the pod runs on."""

    world: World
    kinds: frozenset[str] = frozenset({"snp"})

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        return (self.world.machine.attest(binding.digest(64)),)


SOURCES: dict[str, Callable[[Path], AbstractAsyncContextManager[Scene]]] = {
    "unsafe-development": unsafe_development, "broker": broker,
}  # fmt: skip


@pytest.fixture(params=SOURCES)
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    async with SOURCES[request.param](tmp_path) as made:
        yield made


async def test_the_key_comes_as_bytes_that_the_caller_can_wipe(scene: Scene) -> None:
    key = await scene.ask()
    assert bytes(key) == KEY
    wipe(key)
    assert not any(key)
    assert bytes(await scene.ask()) == KEY


@pytest.mark.parametrize("change", [{"model": "legal/other"}, {"version": 8}, {"data_class": "public"}])
async def test_a_key_is_released_for_its_own_model_version_and_class_alone(
    scene: Scene, change: dict[str, str | int]
) -> None:
    refusal = await scene.refuse(replace(scene.wanted, **change))  # type: ignore[arg-type]
    assert refusal.reason in scene.not_its_own
    assert not refusal.retry


async def test_a_pod_that_is_not_known_gets_nothing_and_is_told_so(scene: Scene) -> None:
    scene.forget_pod()
    refusal = await scene.refuse()
    assert (refusal.reason, refusal.retry) == (Reason.KEY_DENIED, False)


@pytest.mark.slow
async def test_a_source_that_is_gone_is_an_outage_with_a_next_step(scene: Scene) -> None:
    scene.vanish()
    refusal = await scene.refuse()
    assert (refusal.reason, refusal.retry) == (scene.gone, True)
    assert "see whether" in refusal.message


async def test_a_wrapped_key_that_was_changed_opens_nothing(scene: Scene) -> None:
    key = parse_wrapped(scene.wanted.key_file)
    changed = replace(key, wrapped=key.wrapped[:-1] + bytes([key.wrapped[-1] ^ 1]))
    refusal = await scene.refuse(replace(scene.wanted, key_file=encode_wrapped(changed)))
    assert (refusal.reason, refusal.retry) == (Reason.KEY_MISMATCH, False)


async def test_a_key_file_that_cannot_be_read_is_a_refusal(scene: Scene) -> None:
    refusal = await scene.refuse(replace(scene.wanted, key_file=b"no json"))
    assert (refusal.reason, refusal.retry) == (Reason.SEAL_INVALID, False)


def test_without_a_release_the_next_step_is_named() -> None:
    with pytest.raises(RefusedError, match="install a release of keys") as caught:
        NoKeys().ask(KeyRequest(b"", "", "legal/reviewer", 7, "internal"))
    assert caught.value.reason is Reason.KMS_UNAVAILABLE
