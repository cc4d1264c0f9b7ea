"""Start the agent: `fence` closes the pod's network and ends; `run` stays beside the engine."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from sekisho.agent.config import read_config
from sekisho.agent.fence import load_fence, render_fence
from sekisho.agent.journal import log_event
from sekisho.agent.loop import Agent, AgentPaths
from sekisho.agent.server import build_server
from sekisho.agent.state import AgentState
from sekisho.errors import SekishoError
from sekisho.kernel import forbid_dumps

USAGE = "usage: sekisho-agent fence|run"
DEFAULT_PORT = 8181


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two commands and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["fence"]:
        return _fence()
    if words == ["run"]:
        return _run()
    print(USAGE, file=sys.stderr)
    return 64


def _paths() -> AgentPaths:
    directory = Path(os.environ.get("SEKISHO_CONFIG_DIR", "/etc/sekisho"))
    token = Path(os.environ.get("SEKISHO_TOKEN_FILE", "/var/run/secrets/sekisho/token"))
    return AgentPaths(
        config=directory / "agent.json", ca=directory / "ca.crt", token=token,
        release_token=token.with_name("release-token"),
    )  # fmt: skip


def _fence() -> int:
    try:
        # The fence does not need the node's address; any stands in for it while the canaries are parsed.
        config = read_config(_paths().config, host_ip=os.environ.get("HOST_IP") or "127.0.0.1")
        load_fence(render_fence(config, agent_port=_port()))
    except SekishoError as error:
        log_event("error", error.message, reason=error.reason)
        with contextlib.suppress(OSError):
            Path("/dev/termination-log").write_text(f"{error.reason}: {error.message}", encoding="utf-8")
        return 1
    log_event("info", "the fence stands", depot=config.depot.host, port=config.depot.port)
    return 0


def _run() -> int:
    forbid_dumps()
    pod = (os.environ.get("POD_NAME", ""), os.environ.get("POD_UID", ""))
    agent = Agent(paths=_paths(), state=AgentState(), host_ip=os.environ.get("HOST_IP", ""), pod=pod)

    # Held back from every thread and asked for below: a handler that runs just before a wait begins does not end it.
    ending = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    server = build_server(
        (os.environ.get("SEKISHO_BIND", "0.0.0.0"), _port()),
        agent.state,
        engine=lambda: agent.config.engine if agent.config else None,
    )
    threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
    threading.Thread(target=agent.run, name="agent", daemon=True).start()
    signal.sigwait(ending)
    agent.stop.set()
    log_event("info", "the agent ends")
    # Threads may sit in a connect or a read; nothing of theirs is worth waiting for, and the pod is going away.
    sys.stdout.flush()
    os._exit(0)


def _port() -> int:
    return int(os.environ.get("SEKISHO_AGENT_PORT", str(DEFAULT_PORT)))


if __name__ == "__main__":
    sys.exit(main())
