"""What evidence for a release of keys commits to: challenge, ephemeral key, workload, policy, isolation, question."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_DOMAIN: Final = b"sekisho evidence binding v1\n"
_MOST_HELD: Final = 64
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@dataclass(frozen=True, slots=True)
class Binding:
    """Everything one piece of fresh evidence is made for.

    Attributes:
        purpose: "release", "renew", "evicted" or "node"; evidence made for one is worth nothing for another.
        nonce: The 32 random bytes of the challenge.
        public_key: The raw ephemeral X25519 key the answer is encrypted to; empty where nothing secret comes back.
        namespace: Of the pod; empty for a node.
        pod: Its name; for a node, the node's.
        uid: Its UID.
        policy_digest: "sha256:…" of all rules that decide, as the challenge named them.
        isolation_digest: "sha256:…" of the proof of isolation sent along, as its bytes were.
        question_digest: "sha256:…" of the canonical bytes of what is asked for.
    """

    purpose: str
    nonce: bytes
    public_key: bytes
    namespace: str
    pod: str
    uid: str
    policy_digest: str
    isolation_digest: str
    question_digest: str

    def encode(self) -> bytes:
        """Spell the binding, domain separated; the same facts always give the same bytes."""
        return _encode(self)

    def digest(self, size: int) -> bytes:
        """Return what hardware signs: 64 bytes (SNP, TDX, Nitro) by SHA-512, 32 bytes (TPM, GPU nonces) by SHA-256.

        Raises:
            ValueError: Another size.
        """
        if size == 64:
            return hashlib.sha512(self.encode()).digest()
        if size == 32:
            return hashlib.sha256(self.encode()).digest()
        raise ValueError(f"a binding has 32 or 64 bytes, not {size}")

    def matches(self, bound_data: bytes) -> bool:
        """Tell whether evidence that commits to `bound_data` was made for this binding.

        Either digest counts, and two more spellings of the 32 bytes: with 32 zeros behind them, where hardware takes 64
        bytes and was asked for fewer, and in hexadecimal, where whoever asks the hardware takes text alone.
        """
        data = self.encode()
        if bound_data == hashlib.sha512(data).digest():
            return True
        short = hashlib.sha256(data).digest()
        return bound_data in (short, short + bytes(32), short.hex().encode())


@lru_cache(_MOST_HELD)
def _encode(binding: Binding) -> bytes:
    """Spell a binding once for all who ask during one release; nothing in it is secret."""
    fields = {
        "isolation": binding.isolation_digest,
        "key": binding.public_key.hex(),
        "namespace": binding.namespace,
        "nonce": binding.nonce.hex(),
        "pod": binding.pod,
        "policy": binding.policy_digest,
        "purpose": binding.purpose,
        "question": binding.question_digest,
        "uid": binding.uid,
    }
    return _DOMAIN + _ENCODER.encode(fields).encode()


def digest_bytes(data: bytes) -> str:
    """Return "sha256:…" of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
