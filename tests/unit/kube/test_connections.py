"""What a client of the API server leaves behind once it is closed: nothing."""

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sekisho.kube.client import KubeClient
from sekisho.kube.connections import Connections
from sekisho.kube.credentials import Credentials
from sekisho.kube.resources import CONFIG_MAPS
from tests.unit.depot.parts import build_keys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Rude:
    """A TLS server that begins an answer to whoever connects, and then never says a word, nor goodbye."""

    credentials: Credentials
    listener: socket.socket
    context: ssl.SSLContext
    held: list[ssl.SSLSocket] = field(default_factory=list)

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                taken, _ = self.listener.accept()
                self.held.append(self.context.wrap_socket(taken, server_side=True))
                self.held[-1].recv(4096)
                self.held[-1].sendall(HEAD)


@pytest.fixture
def rude(tmp_path: Path) -> Iterator[Rude]:
    keys = build_keys(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate, keys.key)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    made = Rude(Credentials(url, ca_pem=keys.ca.read_text(), token="t0ken"), listener, context)
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(60)
    for each in made.held:
        each.close()


async def watch_and_leave(credentials: Credentials) -> None:
    async with KubeClient(credentials, process="test") as client:
        opened = asyncio.Event()

        async def follow() -> None:
            async for _ in client.watch(CONFIG_MAPS, "1", opened=opened.set):
                pass

        task = asyncio.create_task(follow())
        await asyncio.wait_for(opened.wait(), 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_client_that_left_a_watch_leaves_no_socket_though_the_server_says_no_goodbye(rude: Rude) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(watch_and_leave(rude.credentials))
        gc.collect()
    assert [str(item.message) for item in told if item.category is ResourceWarning] == []
    assert len(rude.held) == 1


async def test_a_socket_that_the_client_never_closes_does_not_hold_its_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.kube.connections._MOST_STEPS", 2)
    connections = Connections()
    with connections.make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as forgotten:
        await asyncio.wait_for(connections.end(), 60)
        assert forgotten.fileno() >= 0
