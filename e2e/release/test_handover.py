"""An engine that decrypts by itself gets its keys under the broker's lease, and ends with it."""

import hashlib
import json
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.observe import ask_engine, pods_of, wait_for
from e2e.release.conftest import CALLER, Grounds, grant, seal_and_push
from e2e.services import model_object, runtime_object, small_service

NAME = "vault/handed"
TENSORS = {"first": b"weights that only the engine sees " * 64, "second": bytes(range(256)) * 16}

# The engine: it answers the digest of what it decrypted. Its image is the agent's, which holds that part of the loader.
ENGINE = """
import hashlib, http.server, json, os
from pathlib import Path
from sekisho.loader.handover import fetch_file_keys, open_handed_over
from sekisho.loader.opening import read_file
handover = fetch_file_keys(Path(os.environ["SEKISHO_LOADER_SOCKET"]), seconds=300)
model = open_handed_over(Path(os.environ["SEKISHO_LOADER_CIPHERTEXT"]), handover)
told = hashlib.sha256(read_file(model, "model.safetensors").view).hexdigest()
class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"choices": [{"message": {"content": told}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
http.server.ThreadingHTTPServer(("", 8080), Engine).serve_forever()
"""


@pytest.fixture
def handed(grounds: Grounds, tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """A sealed model of safetensors and a Runtime that decrypts it: URI, manifest's digest, the Runtime's name."""
    plain = tmp_path / f"handed-{uuid.uuid4().hex[:6]}"
    plain.mkdir()
    (plain / "model.safetensors").write_bytes(make_safetensors())
    (plain / "config.json").write_text("{}")
    runtime = plain.name
    image = grounds.installation.images["agent"].reference
    formats = [{"name": "safetensors"}]
    command = ["/usr/bin/python3.11", "-c", ENGINE]
    grounds.installation.apply(runtime_object(runtime, image, formats=formats, command=command, loader="sealed"))
    uri, digest = seal_and_push(grounds.owner, grounds.bao, plain, model=NAME)
    yield uri, digest, runtime
    grounds.installation.cluster.kubectl("delete", "runtime", runtime, "--wait=false")


def make_safetensors() -> bytes:
    header, offset = {}, 0
    for name, data in TENSORS.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    spelt = json.dumps(header).encode()
    return struct.pack("<Q", len(spelt)) + spelt + b"".join(TENSORS.values())


def test_an_engine_that_decrypts_by_itself_serves_under_a_lease_and_ends_when_the_grant_is_taken_back(
    grounds: Grounds, closed: str, handed: tuple[str, str, str]
) -> None:
    installation, cluster = grounds.installation, grounds.installation.cluster
    uri, digest, runtime = handed
    model = {"name": NAME, "digest": digest}
    grant(grounds, closed, "handed", model=model)
    installation.apply(model_object("handed", closed, uri, format={"name": "safetensors"}))
    installation.apply(small_service(
        "handed", closed, {"modelRef": {"name": "handed"}, "runtime": runtime}, spec={"users": [CALLER]},
        nodeSelector={"kubernetes.io/hostname": grounds.nodes[0]},
    ))  # fmt: skip
    installation.wait_condition("handed", "Ready", "True", namespace=closed)
    (pod,) = pods_of(cluster, "handed", namespace=closed)
    told = ask_engine(cluster, pod["metadata"]["name"], namespace=closed)
    assert told == hashlib.sha256(make_safetensors()).hexdigest()
    volumes = {item["name"]: item["emptyDir"] for item in pod["spec"]["volumes"] if "emptyDir" in item}
    assert "medium" not in volumes["sealed"], "what lies on the disk is ciphertext"
    installation.wait_condition("handed", "KeyReleased", "True", namespace=closed)

    grant(grounds, closed, "handed", model=model, suspended=True)
    installation.wait_condition("handed", "KeyReleased", "False", namespace=closed)
    installation.wait_condition("handed", "Ready", "False", namespace=closed)
    wait_for(lambda: not is_serving(grounds, closed), "the engine is gone")


def is_serving(grounds: Grounds, namespace: str) -> bool:
    """Tell whether the engine's container runs and is ready."""
    pods = pods_of(grounds.installation.cluster, "handed", namespace=namespace)
    return any(state["ready"] for pod in pods for state in pod["status"].get("containerStatuses", []))
