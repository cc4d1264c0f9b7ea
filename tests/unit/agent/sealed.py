"""A pod that unseals: a sealed model behind a real depot, a real development release, a volume in memory."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opentelemetry.metrics import NoOpMeter

from sekisho.agent.attesters.collect import Attester
from sekisho.agent.loop import Agent, AgentPaths
from sekisho.agent.state import AgentState
from sekisho.api.names import WEIGHTS_POD_CONDITION
from sekisho.depot.cluster import WeightsWish
from sekisho.depot.process import RunningDepot, run_depot
from sekisho.depot.settings import DepotSettings
from sekisho.kms.unsafe_development import UnsafeDevelopmentKeys, UnsafeDevelopmentSettings, create_unsafe_key
from sekisho.seal.facts import KEY_NAME, ModelIdentity
from sekisho.seal.keys import KeyContext, encode_wrapped
from sekisho.unsafe_release.process import run_release
from sekisho.unsafe_release.settings import ReleaseSettings
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
)
from tests.unit.seal.sealing import IDENTITY, KEY, Sealed, seal

DEPOT = "sekisho-depot.sekisho-system.svc"
RELEASE = "sekisho-unsafe-development-release.sekisho-system.svc"
RELEASE_TOKEN = "release-token-of-chat-0"
SILENT: dict[str, Any] = {"name": "outside", "host": "255.255.255.255", "port": 80, "protocols": ["tcp", "udp"]}
MARK = b"only in memory: "
PART = 256 << 10
BIG = MARK + os.urandom(2 * PART + 999)
FILES: Mapping[str, tuple[bytes, ...]] = {
    "config.json": (b'{"layers":2}',),
    "empty.txt": (b"",),
    "model.gguf": (BIG[:PART], BIG[PART : 2 * PART], BIG[2 * PART :]),
    "shards/b.bin": (b"same size one", b"same size two"),
}
PLAIN = {path: b"".join(parts) for path, parts in FILES.items()}
KEY_ID = "owner"


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder that is kept in memory, as the pod's volume is."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-test-", dir="/dev/shm"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_keys(folder: Path) -> UnsafeDevelopmentKeys:
    """Make a development key in a folder of its own, or take the one that is there."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{KEY_ID}.json"
    if not file.exists():
        create_unsafe_key(file)
    return UnsafeDevelopmentKeys(UnsafeDevelopmentSettings(file=file, allow_unsafe=True))


def seal_model(
    keys: UnsafeDevelopmentKeys,
    *,
    files: Mapping[str, tuple[bytes, ...]] = FILES,
    identity: ModelIdentity = IDENTITY,
    wrapped: bytes = KEY,
) -> Sealed:
    """Seal a model with its wrapped key beside it."""
    sealed = seal(files, identity=identity)
    key = keys.wrap(wrapped, key_id=KEY_ID, context=KeyContext.of(identity))
    sealed.blobs[KEY_NAME] = encode_wrapped(key)
    return sealed


def told_of(sealed: Sealed, **changes: Any) -> dict[str, Any]:
    """What the controller writes of a sealed model into agent.json."""
    model = sealed.manifest.model
    facts = {
        "manifestDigest": sealed.trusted, "model": model.name, "version": model.version, "class": model.data_class,
        "kms": "unsafe-development", "keyId": KEY_ID, "keyVersion": "1",
    }  # fmt: skip
    return facts | changes


@dataclass(repr=False)  # asyncio spells what a fixture gave whenever it looks at signal handlers
class SealedStage:
    """Everything that one test plays with; `start` it once the scene is set.

    Attributes:
        volume: The pod's volume, in memory.
        folder: Everything else, on a disk.
    """

    folder: Path
    volume: Path
    tls: Keys
    server: FileServer
    sealed: Sealed
    cluster: SimulatedCluster = field(default_factory=SimulatedCluster)
    release_cluster: SimulatedCluster = field(default_factory=SimulatedCluster)
    minimum_version: int = 1
    attesters: tuple[Attester, ...] = ()
    depot: RunningDepot = field(init=False)
    agent: Agent = field(init=False)
    config: dict[str, Any] = field(init=False)

    @property
    def keys_dir(self) -> Path:
        return self.folder / "keys"

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Offer a folder at the source."""
        sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(blobs.items()))
        self.server.files = {f"/m/{name}": data for name, data in blobs.items()} | {"/m/SHA256SUMS": sums.encode()}

    def write_config(self, **changes: Any) -> None:
        self.config.update(changes)
        (self.folder / "agent.json").write_text(json.dumps(self.config))
        self.cluster.configs[NAMESPACE, SERVICE] = dict(self.config)
        self.depot.api.proofs._configs.clear()

    def tell(self, **changes: Any) -> None:
        """Change what the controller says of the model."""
        weights = self.config["weights"]
        self.write_config(weights=weights | {"sealed": told_of(self.sealed, **changes)})

    async def step(self) -> float:
        return await asyncio.to_thread(self.agent.take_step)

    @property
    def condition(self) -> Mapping[str, Any]:
        return self.cluster.condition(WEIGHTS_POD_CONDITION)

    @property
    def models(self) -> list[str]:
        return list_files(self.volume)

    def make_agent(self) -> Agent:
        """Make the agent, or another after it was killed."""
        paths = AgentPaths(
            config=self.folder / "agent.json", ca=self.folder / "tls" / "ca.crt", token=self.folder / "token",
            release_token=self.folder / "release-token", lease=self.folder / "lease.json",
        )  # fmt: skip
        pod = ("chat-0", "uid-0")
        return Agent(paths=paths, state=AgentState(), host_ip="10.9.0.2", pod=pod, attesters=self.attesters)


def list_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@contextlib.asynccontextmanager
async def run_stage(folder: Path, *, minimum_version: int = 1, **changes: Any) -> AsyncIterator[SealedStage]:
    """Run depot, release and source; the agent is stepped by the test."""
    tls = build_keys(folder / "tls", DEPOT, RELEASE, "127.0.0.1")
    (folder / "token").write_text(TOKEN)
    (folder / "release-token").write_text(RELEASE_TOKEN)
    sealed = seal_model(make_keys(folder / "keys"), **changes)
    with memory_folder() as volume, serve_files(FileServer(), tls) as server:
        stage = SealedStage(folder, volume, tls, server, sealed, minimum_version=minimum_version)
        stage.put(sealed.blobs)
        stage.cluster.add_pod(build_pod(), TOKEN)
        stage.release_cluster.add_pod(build_pod(), RELEASE_TOKEN)
        source = f"https://{server.host}/m/"
        (folder / "sources.json").write_text(json.dumps([{"prefix": source, "caFile": str(tls.ca)}]))
        stage.cluster.wishes[NAMESPACE, SERVICE] = WeightsWish(source, None, 1 << 30)
        async with contextlib.AsyncExitStack() as stack:
            await _start(stage, stack)
            yield stage
            stage.agent.stop.set()
            await asyncio.to_thread(stage.agent.run)


async def _start(stage: SealedStage, stack: contextlib.AsyncExitStack) -> None:
    folder = stage.folder
    settings = DepotSettings(
        cache_bytes=256 << 20, cache_dir=folder / "cache", sources_file=folder / "sources.json",
        tls_dir=folder / "tls", host="127.0.0.1", https_port=0, health_port=0, canary_port=0,
    )  # fmt: skip
    stage.depot = await stack.enter_async_context(run_depot(settings, stage.cluster, meter=NoOpMeter("test")))
    release = ReleaseSettings(
        keys_dir=stage.keys_dir, tls_dir=folder / "tls", minimum_version=stage.minimum_version, host="127.0.0.1",
        https_port=0, health_port=0,
    )  # fmt: skip
    running = await stack.enter_async_context(run_release(release, stage.release_cluster, meter=NoOpMeter("test")))
    stage.agent = stage.make_agent()
    stage.config = {
        "namespace": NAMESPACE, "service": SERVICE,
        "depot": {"host": "127.0.0.1", "port": stage.depot.https_port, "serverName": DEPOT},
        "release": {
            "host": "127.0.0.1", "port": running.https_port, "serverName": RELEASE, "protocol": "unsafe-development",
        },
        "canaries": [SILENT], "proofIntervalSeconds": 20, "proofMaxAgeSeconds": 90,
        "weights": {"mode": "sealed", "path": str(stage.volume), "sealed": told_of(stage.sealed)},
        "engine": {"port": 8080, "healthPath": "/health"},
    }  # fmt: skip
    stage.write_config()


def rebuild(sealed: Sealed, **changes: Any) -> Sealed:
    """Seal nothing anew, but spell another manifest around the same blobs."""
    from sekisho.seal.facts import MANIFEST_NAME  # noqa: PLC0415
    from sekisho.seal.manifest import digest_of, encode_manifest  # noqa: PLC0415

    manifest = encode_manifest(replace(sealed.manifest, **changes))
    return Sealed(sealed.blobs | {MANIFEST_NAME: manifest}, digest_of(manifest), sealed.key)
