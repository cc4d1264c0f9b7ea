"""The processes of G7: `world FOLDER`, what a gateway needs around it; `on FOLDER API`, `off FOLDER API`: gateways."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from opentelemetry.metrics import NoOpMeter

import sekisho.gateway.main as gateway_main
from sekisho.kube.credentials import Credentials
from sekisho.ledger.checkpoint import Checkpoint
from sekisho.ledger.merkle import EMPTY_ROOT
from sekisho.ledger.receipt import Written
from sekisho.recording.keeper import Lag
from tests.unit.gateway.api_server import ApiServer
from tests.unit.gateway.house import MODEL, POLICY, USER, Loopback, build_pod, build_service, build_settings

_ANSWER = json.dumps({
    "id": "c1", "object": "chat.completion", "created": 1, "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "A level and compartments."},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
}).encode()  # fmt: skip
_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(_ANSWER)}\r\n\r\n".encode()


class Forgetful:
    """A record that keeps nothing, in place of the product's."""

    problem = None
    head = Checkpoint("none", 0, EMPTY_ROOT)
    lag = Lag()
    _written = Written("none", 0, EMPTY_ROOT)

    def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def digest_body(self, body: bytes) -> str:
        return "none"

    def receipt(self, written: Written) -> str:
        return "none"

    def put(self, entry: Mapping[str, Any]) -> None:
        pass

    async def append(self, entry: Mapping[str, Any]) -> Written:
        return self._written


class Quick(asyncio.Protocol):
    """An engine that answers at once whatever is asked."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            self._transport.write(_HEAD + _ANSWER)


async def serve_world() -> None:
    """Serve an API server with one caller, one service, and an engine."""
    async with ApiServer() as api:
        engine = await asyncio.get_running_loop().create_server(Quick, "127.0.0.1", 0)
        port = engine.sockets[0].getsockname()[1]
        api.put("classificationpolicies", {"metadata": {"name": "default"}, "spec": POLICY})
        api.put("runtimes", {"metadata": {"name": "llamacpp"}, "spec": {}})
        api.put("sites", {"metadata": {"name": "closed"}, "spec": {"tier": "Closed", "jurisdiction": "JP"}})
        api.put("inferenceservices", build_service())
        api.put("pods", build_pod(build_service(), port=port))
        api.grant(USER, "inferenceservices", "contract-review", "legal")
        api.grant(USER, "classificationlevels", "confidential")
        api.grant(USER, "compartments", "gdpr")
        renewing = asyncio.create_task(_renew(api, port))
        await _until_closed(json.dumps({"api": api.url, "token": api.token(USER)}))
        renewing.cancel()
        engine.close()


async def _renew(api: ApiServer, port: int) -> None:
    """Renew the pod's proof of isolation, as a depot does."""
    while True:
        await asyncio.sleep(60)
        api.put("pods", build_pod(build_service(), port=port))


async def serve_gateway(kind: str, folder: Path, api: str) -> None:
    """Serve a gateway; its record is in a folder called as it is."""
    if kind == "off":
        gateway_main.build_record = lambda *_, **__: Forgetful()  # type: ignore[assignment,return-value]
    settings = build_settings(folder).model_copy(update={"record_dir": folder / kind})
    credentials, meter = Credentials(server=api), NoOpMeter("bench")
    async with gateway_main.Gateway(settings, credentials, meter, resolver=Loopback()) as gateway:
        async with aiohttp.ClientSession() as client:
            while (await client.get(f"http://127.0.0.1:{gateway.ports.health}/readyz")).status != 200:
                await asyncio.sleep(0.05)
        await _until_closed(str(gateway.ports.https))


async def _until_closed(where: str) -> None:
    print(where, flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main(what: str, folder: str, *more: str) -> None:
    """Run until standard input ends; the first line of standard output says where."""
    if what == "world":
        asyncio.run(serve_world())
    else:
        gateway_main.run_on_loop(serve_gateway(what, Path(folder), *more))


if __name__ == "__main__":
    main(*sys.argv[1:])
