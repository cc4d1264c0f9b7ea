"""What the kubelet asks: may the engine start, may requests come in, may it go on, and are we alive.

The paths are /startup, /engine-ready, /engine-live and /healthz.
"""

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from sekisho.agent.config import EngineConfig
from sekisho.agent.state import AgentState, Health
from sekisho.errors import Reason

_MOST_REQUESTS: Final = 16
_SOCKET_SECONDS: Final = 5.0
_HEALTH_SECONDS: Final = 2.0


class ProbeServer(ThreadingHTTPServer):
    """Serve the probes; at most 16 at once, the rest wait in the backlog or are closed.

    Args:
        address: Host and port to bind.
        answers: What to answer by path.
    """

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], answers: dict[str, Callable[[], Health]]) -> None:
        self.answers = answers
        self._slots = threading.BoundedSemaphore(_MOST_REQUESTS)
        super().__init__(address, _Probe)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for one request, if a slot is free."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one request and give the slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over connections that break; a probe is simply asked again."""


class _Probe(BaseHTTPRequestHandler):
    timeout = _SOCKET_SECONDS
    server: ProbeServer
    server_version = "sekisho"
    sys_version = ""

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        if answer is None:
            self._send(404, {"reason": Reason.REQUEST_INVALID, "message": "no such path"})
            return
        health = answer()
        self._send(200 if health.ok else 503, {"ok": health.ok, "reason": health.reason, "message": health.message})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Log nothing: probes come every second."""


def build_server(
    address: tuple[str, int],
    state: AgentState,
    *,
    engine: Callable[[], EngineConfig | None],
    engine_host: str = "127.0.0.1",
) -> ProbeServer:
    """Build the server of the probes; `engine` tells where the engine answers, as far as that is known."""
    fine = Health(ok=True, reason=Reason.READY, message="the agent runs")

    def judge_engine(allowed: Callable[[], Health]) -> Health:
        health = allowed()
        where = engine() if health.ok else None
        return ask_engine(engine_host, where) if where else health

    answers: dict[str, Callable[[], Health]] = {
        "/startup": state.startup,
        "/engine-ready": lambda: judge_engine(state.may_serve),
        "/engine-live": lambda: judge_engine(state.may_live),
        "/healthz": lambda: fine,
    }
    return ProbeServer(address, answers)


def ask_engine(host: str, engine: EngineConfig) -> Health:
    """Ask the engine's health endpoint; the kubelet calls this only after the engine's own startup probe passed."""
    connection = http.client.HTTPConnection(host, engine.port, timeout=_HEALTH_SECONDS)
    try:
        connection.request("GET", engine.health_path, headers={"Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        why = f"no answer within {_HEALTH_SECONDS:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__
        return Health(
            ok=False, reason=Reason.ENGINE_CRASHING,
            message=f"the engine does not answer on port {engine.port}{engine.health_path}: {why}",
        )  # fmt: skip
    finally:
        connection.close()
    if 200 <= status < 300:
        return Health(ok=True, reason=Reason.SERVING, message="the engine is healthy")
    return Health(ok=False, reason=Reason.ENGINE_CRASHING, message=f"the engine's health endpoint answered {status}")
