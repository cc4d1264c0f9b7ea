"""In which order eligible replicas are tried: not saturated, then where the conversation was, then the quickest. Pure.

It reorders what the filters let through, and nothing else. A service runs at one site, so cost tells nothing apart yet.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sekisho.gateway.choosing.filtering import Eligible

_MAX_WAITING: Final = 4
_MAX_CACHE_USE: Final = 0.95
_FULL: Final = 1.25  # how much more than its share the home of a conversation may carry
_MAX_AFFINITY: Final = 4096
_FIRST: Final = "user"


@dataclass(frozen=True, slots=True)
class Load:
    """How much a replica has to do.

    Attributes:
        own: Requests that this gateway has there now.
        running: Requests that its engine works on, by its metrics; None where they are not known or too old.
        waiting: Requests that wait in it, likewise.
        cache_use: The used share of its key-value cache, 0 to 1, likewise.
        seconds: How long it takes to the first byte, averaged; 0 where nothing is known.
    """

    own: int = 0
    running: float | None = None
    waiting: float | None = None
    cache_use: float | None = None
    seconds: float = 0.0

    @property
    def is_saturated(self) -> bool:
        """Whether another request would wait there."""
        return (self.waiting or 0) >= _MAX_WAITING or (self.cache_use or 0) >= _MAX_CACHE_USE

    @property
    def busy(self) -> float:
        """Requests under way: what its engine says, or what this gateway has sent since."""
        return max(float(self.own), (self.running or 0.0) + (self.waiting or 0.0))


_IDLE: Final = Load()


def prefer(eligible: Sequence[Eligible], loads: Mapping[str, Load], affinity: bytes) -> tuple[Eligible, ...]:
    """Return the same replicas, the best first.

    Args:
        eligible: What passed the filters.
        loads: By uid; one that is missing counts as idle.
        affinity: What stays the same over a conversation; empty: nothing does.
    """
    if len(eligible) < 2:
        return tuple(eligible)
    of = {item.replica.uid: loads.get(item.replica.uid, _IDLE) for item in eligible}
    home = _find_home(eligible, of, affinity) if affinity else None

    def rank(item: Eligible) -> tuple[bool, bool, float, float, str]:
        load = of[item.replica.uid]
        return load.is_saturated, item is not home, load.busy, load.seconds, item.replica.uid

    return tuple(sorted(eligible, key=rank))


def _find_home(eligible: Sequence[Eligible], of: Mapping[str, Load], affinity: bytes) -> Eligible | None:
    """Return where a conversation belongs: by rendezvous hashing, so that few move when replicas come and go.

    A home that is saturated or carries more than its share passes the conversation on to the next.
    """
    most = _FULL * (sum(load.busy for load in of.values()) + 1) / len(eligible)
    open_to = [item for item in eligible if not (load := of[item.replica.uid]).is_saturated and load.busy < most]
    return max(open_to, key=lambda item: _weigh(affinity, item.replica.uid), default=None)


def _weigh(affinity: bytes, uid: str) -> bytes:
    return hashlib.blake2b(affinity, digest_size=8, key=uid.encode()[:64]).digest()


def find_affinity(service: str, body: Mapping[str, Any]) -> bytes:
    """Return a digest of what stays over a conversation: its texts up to the first thing that its user said.

    Empty where there are none, such as for embeddings. It leads to the replica whose prefix cache knows the beginning.
    """
    texts = _first_texts(body)
    if not texts:
        return b""
    spelt = "\0".join([service, *texts])[: 2 * _MAX_AFFINITY]
    return hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _first_texts(body: Mapping[str, Any]) -> list[str]:
    prompt, messages = body.get("prompt"), body.get("messages")
    if isinstance(prompt, str):
        return [prompt[:_MAX_AFFINITY]]
    texts: list[str] = []
    for message in messages if isinstance(messages, list) else ():
        texts += (text[:_MAX_AFFINITY] for text in _texts_of(message.get("content")))
        if message.get("role") == _FIRST or len(texts) > 8:
            break
    return texts


def _texts_of(content: Any) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
