"""Thousands of nodes that attest anew at once: each with its own key, token, address and connection."""

import asyncio
import base64
import hashlib
import json
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bench.harness import WrongAnswerError
from sekisho.attest.evidence import UnverifiedEvidence, encode_evidence
from sekisho.attest.tpm2.structures import AK_TEMPLATE
from sekisho.attester.attesting import read_binding
from tests.simulators.tpm.simulated import make_attest, sized

PCRS = {number: hashlib.sha256(b"%d" % number).digest() for number in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14)}
_SPELT = json.dumps({"sha256": {str(number): value.hex() for number, value in PCRS.items()}}).encode()


@dataclass(frozen=True, slots=True)
class FleetNode:
    """One node; its TPM is a key that signs."""

    name: str
    address: str
    key: ec.EllipticCurvePrivateKey
    public: bytes

    @property
    def ak_name(self) -> str:
        """The TPM Name of its attestation key."""
        return (b"\x00\x0b" + hashlib.sha256(self.public).digest()).hex()

    def quote(self, qualifying: bytes) -> UnverifiedEvidence:
        """Sign as a TPM would."""
        attest = make_attest(self.public, qualifying, sorted(PCRS), PCRS)
        r, s = decode_dss_signature(self.key.sign(attest, ec.ECDSA(hashes.SHA256())))
        signature = bytes.fromhex("0018000b") + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
        extras = (("akPublic", self.public), ("pcrs", _SPELT), ("signature", signature))
        return UnverifiedEvidence("tpm", attest, extras=extras)


def make_node(number: int) -> FleetNode:
    """Make a node with a key of its own and an address of the loopback network of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    public = AK_TEMPLATE[:-68] + sized(numbers.x.to_bytes(32, "big")) + sized(numbers.y.to_bytes(32, "big"))
    return FleetNode(f"node-{number}", f"127.1.{number // 250}.{number % 250 + 1}", key, public)


async def attest_all(nodes: list[FleetNode], port: int, ca: str, *, at_once: int = 200) -> None:
    """Have every node attested once.

    Raises:
        WrongAnswerError: One of them was not.
    """
    context, slots = ssl.create_default_context(cafile=ca), asyncio.Semaphore(at_once)

    async def attest(node: FleetNode) -> None:
        async with (
            slots,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(local_addr=(node.address, 0), ssl=context),
                headers={"Authorization": f"Bearer token-{node.name}"},
                timeout=aiohttp.ClientTimeout(total=120),
            ) as session,
        ):
            asked = await _ask(session, port, "challenge", {"node": node.name})
            evidence = node.quote(read_binding(node.name, asked).digest(32))
            body = {"challenge": asked["challenge"], "evidence": encode_evidence([evidence])}
            answer = await _ask(session, port, "attest", body)
            if not answer.get("expiresAt"):
                raise WrongAnswerError(f"{node.name} was answered {answer}")

    await asyncio.gather(*(attest(node) for node in nodes))


async def _ask(session: aiohttp.ClientSession, port: int, what: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(f"https://127.0.0.1:{port}/v1/nodes/{what}", json=body) as response:
        answer: dict[str, Any] = await response.json()
        if response.status != 200:
            raise WrongAnswerError(f"{what} was answered {response.status}: {answer}")
        return answer


def spell_policy() -> dict[str, Any]:
    """Spell an EvidencePolicy that every node satisfies."""
    registers = [{"name": f"pcr{number}", "values": [PCRS[number].hex()]} for number in (4, 7)]
    return {"metadata": {"name": "nodes"}, "spec": {"anyOf": [
        {"name": "tpm", "evidence": [{"tee": "tpm", "registers": registers}]}]}}  # fmt: skip


def count_attested(listed: list[dict[str, Any]]) -> int:
    """Count the nodes that carry a fresh label."""
    label = "sekisho.node-restriction.kubernetes.io/tpm-attested-at"
    return sum(label in item["metadata"]["labels"] for item in listed)


def encode(data: bytes) -> str:
    """Spell bytes."""
    return base64.b64encode(data).decode()
