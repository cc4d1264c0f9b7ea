"""An answer to a datagram counts where it holds what was sent; whatever else comes proves nothing."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from sekisho.agent.probe import probe_canaries
from sekisho.attest.isolation import CanaryResult, ExpectedCanary, is_sealed_datagram

KEY = b"k" * 16


@contextmanager
def answering(answer: Callable[[bytes], Sequence[bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """Answer each datagram at a port of loopback; yields the port and what came."""
    came: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, peer = server.recvfrom(2048)
                if data == b"end":
                    return
                came.append(data)
                for item in answer(data):
                    server.sendto(item, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", server.getsockname())
            thread.join()


def probe(port: int, *, key: bytes = b"") -> CanaryResult:
    canary = ExpectedCanary("c", "127.0.0.1", port, ("udp",))
    (result,) = probe_canaries([canary], own_node=frozenset(), seconds=0.2, key=key)
    return result


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([], "blocked"),
        ([b"x", bytes(200)], "error"),
        ([b"x", b"%s"], "reached"),
        ([b"%s"], "reached"),
        ([b"before %s after"], "reached"),
    ],
)
def test_what_does_not_hold_what_was_sent_is_no_answer(answers: list[bytes], outcome: str) -> None:
    with answering(lambda data: [item.replace(b"%s", data) for item in answers]) as (port, _):
        result = probe(port)
    assert result.outcome == outcome
    if outcome == "error":
        assert result.detail == "something came that is no answer to what was sent"


def test_what_is_sent_is_the_agents_own_and_never_twice_the_same() -> None:
    with answering(lambda data: [data]) as (port, came):
        for _ in range(2):
            assert probe(port, key=KEY).outcome == "reached"
    assert all(is_sealed_datagram(KEY, data) for data in came)
    assert len(set(came)) == 2
