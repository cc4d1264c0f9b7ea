"""kill -9 of the agent at every point of unsealing: no plaintext on a disk, and a clean start afterwards."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.agent.sealed import MARK, PLAIN, make_keys, memory_folder, seal_model, told_of
from tests.unit.depot.parts import FileServer, build_keys, serve_files
from tests.unit.seal.sealing import KEY

ROOT = Path(__file__).parents[3]
SPELT = {
    "manifestDigest": "manifest_digest", "class": "data_class", "keyId": "key_id", "keyVersion": "key_version",
}  # fmt: skip


@pytest.mark.slow
def test_an_agent_killed_at_any_point_leaves_no_plaintext_on_a_disk_and_starts_clean(tmp_path: Path) -> None:
    tls = build_keys(tmp_path / "tls", "127.0.0.1")
    (tmp_path / "token").write_text("t")
    sealed = seal_model(make_keys(tmp_path / "keys"))
    digests = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in sealed.blobs.values()}
    files = [
        {"path": name, "size": len(data), "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}
        for name, data in sealed.blobs.items()
    ]
    listing = {"digest": sealed.trusted, "totalBytes": sum(map(len, sealed.blobs.values())), "files": files}
    server = FileServer({f"/v1/blobs/{digest}": data for digest, data in digests.items()})
    with serve_files(server, tls), memory_folder() as volume:
        told = {SPELT.get(name, name): value for name, value in told_of(sealed).items()}
        facts = {
            "folder": str(tmp_path), "volume": str(volume), "port": int(server.host.rpartition(":")[2]),
            "listing": listing, "told": told, "key": base64.b64encode(KEY).decode(),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.unit.agent.killed", json.dumps(facts)]
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=240, env=environment, cwd=tmp_path
        )
        looks = [json.loads(line) for line in done.stdout.splitlines()]
        assert {path: (volume / path).read_bytes() for path in looks[-1]["after"]} == PLAIN
    assert looks[-1]["died"] == 0
    assert len(looks) > 25
    assert all(look["died"] == -9 for look in looks[:-1])
    assert any(".sekisho-partial/00002" in look["left"] for look in looks)
    for look in looks:
        assert look["again"] == 0, look
        assert look["after"] == sorted(PLAIN), look
    assert [path for path in tmp_path.rglob("*") if path.is_file() and MARK in path.read_bytes()] == []
