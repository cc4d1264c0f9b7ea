"""A trust controller that runs, beside an API server that behaves and nodes with simulated TPMs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from opentelemetry.metrics import NoOpMeter

from sekisho.api.names import API_VERSION
from sekisho.attester.attesting import NodeAttestation
from sekisho.attester.collecting import Hardware
from sekisho.attester.controller import TrustClient
from sekisho.attester.devices import Devices
from sekisho.attester.settings import AttesterSettings
from sekisho.attester.tpm import Tpm
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.trust.process import RunningTrust, run_trust
from sekisho.trust.settings import TrustSettings
from tests.simulators.nodes_api import NAMESPACE, ApiServer
from tests.simulators.tpm.simulated import Maker, SimulatedTpm, SocketTpm
from tests.unit.depot.parts import build_keys

POLICY = "nodes"


def spell_policy(tpm: SimulatedTpm, *registers: int) -> dict[str, Any]:
    """Spell an EvidencePolicy that wants some PCRs as this TPM has them."""
    values = [{"name": f"pcr{number}", "values": [tpm.pcrs[number].hex()]} for number in registers or (4,)]
    spec = {"anyOf": [{"name": "tpm", "evidence": [{"tee": "tpm", "registers": values}]}]}
    return {"apiVersion": API_VERSION, "kind": "EvidencePolicy", "metadata": {"name": POLICY}, "spec": spec}


def pem_of(*ders: bytes) -> str:
    return "".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in ders)


@dataclass
class House:
    """Everything at once."""

    folder: Path
    api: ApiServer
    maker: Maker
    tls: Any
    running: RunningTrust
    leads: list[bool]

    @contextlib.contextmanager
    def socket(self, tpm: SimulatedTpm, name: str) -> Iterator[Path]:
        path = self.folder / f"{name}.sock"
        path.unlink(missing_ok=True)
        with SocketTpm(path, tpm) as served:
            yield served.path

    @contextlib.asynccontextmanager
    async def attester(
        self, node: str, tpm: SimulatedTpm, *, token: str = "", pretends: str = "", devices: Devices | None = None
    ) -> AsyncIterator[NodeAttestation]:
        """Run the attester's side for a node; with `pretends` it speaks of another one."""
        file = self.folder / f"token-{node}"
        file.write_text(token or self.api.add_attester(node))
        settings = AttesterSettings(
            node=pretends or node,
            trust_host="127.0.0.1",
            trust_port=self.running.https_port,
            token_file=file,
            ca_file=self.tls.ca,
        )
        with self.socket(tpm, node) as path:
            async with TrustClient(settings) as client:
                yield NodeAttestation(settings.node, Hardware(Tpm(path), devices=devices), client)


@contextlib.asynccontextmanager
async def open_house(folder: Path, **changes: Any) -> AsyncIterator[House]:
    """Run a trust controller for nodes n1 and n2 under the roots of one maker."""
    maker, leads = Maker(), [True]
    tls = build_keys(folder / "tls", "127.0.0.1", f"sekisho-trust.{NAMESPACE}.svc")
    collateral = folder / "collateral"
    collateral.mkdir()
    (collateral / "tpm-roots.pem").write_text(pem_of(maker.root))
    settings = TrustSettings(
        policy=POLICY, collateral_dir=collateral, tls_dir=folder / "tls", host="127.0.0.1", https_port=0, health_port=0,
        **changes,
    )  # fmt: skip
    async with ApiServer().serve() as api:
        api.add_node("n1")
        api.add_node("n2")
        async with (
            KubeClient(Credentials(api.url), process="test") as client,
            run_trust(settings, client, leads=lambda: leads[0], meter=NoOpMeter("test")) as running,
        ):
            house = House(folder, api, maker, tls, running, leads)
            await settle(lambda: len(running.nodes.all()) == 2)
            yield house


async def settle(is_so: Any, *, seconds: float = 60.0) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)
