"""A gateway as its own process, an engine behind it, and nginx before the same engine."""

import json
import os
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.gateway.streams import ECHO_TOKENS, Caller, Place, read_body, spell_request
from bench.harness import WrongAnswerError
from bench.operators.process import OperatorProcess, wait_for
from bench.redact.prompts import build_prompts
from e2e.cluster.host import require_packages
from tests.unit.gateway.house import write_certificate

_WORDS: Final = ("contact", "government-id", "payment")
_RULES: Final = {
    "tiers": ["Closed", "OwnCloud"],
    "burst": "AfterRedaction",
    "redact": [*_WORDS],
    "promptAttacks": "Refuse",
}
GUARDED: Final = {
    "unlabelled": "internal",
    "levels": [{"name": "internal", "rules": _RULES}, {"name": "restricted", "detect": ["secret"]}],
}
UNGUARDED: Final = {
    "unlabelled": "internal",
    "levels": [{"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"], "promptAttacks": "Off"}}],
}
_START_SECONDS: Final = 60.0
_NGINX: Final = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=512;
    ssl_certificate {tls}/tls.crt; ssl_certificate_key {tls}/tls.key;
    client_max_body_size 4m; client_body_buffer_size 64k;
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """One process that is asked, and where."""

    place: Place
    process: OperatorProcess


@dataclass(frozen=True, slots=True)
class Stand:
    """What is measured against each other; all of it has answered once.

    Attributes:
        engine: What both lead to.
    """

    gateway: Server
    engine: Place
    nginx: Server | None
    prompts: tuple[str, ...]


@contextmanager
def open_stand(*, guarded: bool, nginx: bool, settings: Mapping[str, str] | None = None) -> Iterator[Stand]:
    """Bring up an API server, an engine, a gateway and, where it is wanted, nginx.

    Args:
        guarded: Whether the policy asks for every guard, or for none.
        nginx: Whether nginx stands beside it.
        settings: More environment variables of the gateway.

    Raises:
        WrongAnswerError: Something does not start, or guards are not as they must be.
    """
    with TemporaryDirectory(prefix="bench-gateway-") as name, ExitStack() as stack:
        folder = Path(name)
        write_certificate(folder / "tls")
        trust = ssl.create_default_context(cafile=str(folder / "tls/tls.crt"))
        world = {"policy": GUARDED if guarded else UNGUARDED, "site": "owncloud" if guarded else "closed"}
        (folder / "world.json").write_text(json.dumps(world))
        around = _start(stack, folder, "world", str(folder / "world.json"))
        wait_for(lambda: _read(folder, "world", '"engine"'), seconds=_START_SECONDS, what="the engine serves")
        where = _read(folder, "world", '"engine"')
        del around
        gateway = _start_gateway(stack, folder, where, trust, settings or {})
        server = _start_nginx(stack, folder, where, trust) if nginx else None
        prompts = tuple(prompt[:1000] for prompt in build_prompts(11, 32))
        stand = Stand(gateway, Place(where["engine"]), server, prompts)
        _check_guards(stand, guarded=guarded)
        yield stand


def _start(stack: ExitStack, folder: Path, what: str, *rest: str, **environ: str) -> OperatorProcess:
    command = [sys.executable, "-m", "bench.gateway.processes", what, *rest]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    return stack.enter_context(OperatorProcess(command, user=what, env=env, log=folder / f"{what}.log"))


def _read(folder: Path, what: str, mark: str) -> Any:
    """Return the line of a process's log that has a mark, None while there is none."""
    lines = (folder / f"{what}.log").read_text().splitlines()
    return next((json.loads(line) for line in lines if mark in line and line.endswith("}")), None)


def _start_gateway(
    stack: ExitStack, folder: Path, where: Any, trust: ssl.SSLContext, settings: Mapping[str, str]
) -> Server:
    (folder / "kubeconfig").write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        f"clusters: [{{name: a, cluster: {{server: '{where['api']}'}}}}]\nusers: [{{name: a, user: {{token: t}}}}]\n"
    )
    (folder / "placeholders").write_bytes(os.urandom(32))
    environ = {
        "KUBECONFIG": str(folder / "kubeconfig"), "SEKISHO_BIND": "127.0.0.1", "SEKISHO_HTTPS_PORT": "0",
        "SEKISHO_HEALTH_PORT": "0", "SEKISHO_TLS_DIR": str(folder / "tls"), "SEKISHO_DRAIN_DELAY_SECONDS": "0.1",
        "SEKISHO_RECORD_DIR": str(folder / "record"), "SEKISHO_PLACEHOLDER_KEY_FILE": str(folder / "placeholders"),
        "SEKISHO_MAX_REQUESTS_PER_CALLER": "512", "SEKISHO_DRAIN_SECONDS": "1",
        **settings,
    }  # fmt: skip
    process = _start(stack, folder, "gateway", **environ)
    mark = "the gateway serves"
    wait_for(lambda: _read(folder, "gateway", mark), seconds=_START_SECONDS, what="the gateway serves")
    port = int(_read(folder, "gateway", mark)["https_port"])
    server = Server(Place(port, trust, where["token"]), process)
    wait_for(lambda: _answers(server.place), seconds=_START_SECONDS, what="the gateway answers")
    return server


def _start_nginx(stack: ExitStack, folder: Path, where: Any, trust: ssl.SSLContext) -> Server:
    require_packages({"nginx": "nginx-light"}, lambda line: print(line, file=sys.stderr))
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    text = _NGINX.format(folder=folder, engine=where["engine"], port=port, tls=folder / "tls")
    (folder / "nginx.conf").write_text(text)
    command = ["/usr/sbin/nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = OperatorProcess(command, user="nginx", env=os.environ, log=folder / "nginx.log")
    server = Server(Place(port, trust, where["token"]), stack.enter_context(process))
    wait_for(lambda: _answers(server.place), seconds=_START_SECONDS, what="nginx answers")
    return server


def _answers(place: Place) -> bool:
    try:
        caller = Caller(place)
    except OSError:
        return False
    try:
        _, heard = caller.ask(spell_request(place, "go on", max_tokens=1))
    except (OSError, WrongAnswerError):
        return False
    finally:
        caller.close()
    return heard.raw.startswith(b"HTTP/1.1 200 ")


def _check_guards(stand: Stand, *, guarded: bool) -> None:
    """Ask for an echo: the caller must hear what it said, and the engine must have seen placeholders or none."""
    caller, masked = Caller(stand.gateway.place), 0
    try:
        for prompt in stand.prompts:
            _, heard = caller.ask(spell_request(stand.gateway.place, prompt, max_tokens=ECHO_TOKENS))
            answer = json.loads(read_body(heard.raw))
            if answer["choices"][0]["message"]["content"] != prompt:
                raise WrongAnswerError("the caller did not hear what it said")
            masked += answer["usage"]["prompt_tokens"] > 0
    finally:
        caller.close()
    if (masked > len(stand.prompts) // 2) != guarded:
        raise WrongAnswerError(f"{masked} prompts of {len(stand.prompts)} were masked")
