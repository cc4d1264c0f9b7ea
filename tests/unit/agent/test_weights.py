"""Lists of weights as a hostile or broken depot might send them; agent.json; the text of the fence."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from e2e.ports import free_port
from sekisho.agent.config import parse_config
from sekisho.agent.fence import find_difference, render_fence
from sekisho.agent.main import main
from sekisho.agent.state import AgentState
from sekisho.agent.transport import ServerAccess
from sekisho.agent.weights import WeightFile, WeightList, bring_weights, parse_weight_list, wipe_weights
from sekisho.errors import Reason, RefusedError

D = f"sha256:{'a' * 64}"


def item(**changes: Any) -> dict[str, Any]:
    return {"path": "model.gguf", "size": 3, "digest": D} | changes


def body(*files: Any, **changes: Any) -> dict[str, Any]:
    total = sum(f["size"] for f in files if isinstance(f, dict) and isinstance(f.get("size"), int))
    return {"digest": D, "totalBytes": total, "files": list(files)} | changes


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (body(), "does not name 1 to 8200 files"),
        (body(files="x"), "does not name 1 to 8200 files"),
        (body(1), "a file is not an object"),
        (body(item(path="/etc/passwd")), "is absolute, climbs"),
        (body(item(path="../x")), "is absolute, climbs"),
        (body(item(path="a/../../x")), "is absolute, climbs"),
        (body(item(path=".ssh/key")), "is hidden"),
        (body(item(path="a//b")), "is absolute, climbs"),
        (body(item(path="a\x00b")), "unusual characters"),
        (body(item(path="x" * 600)), "a path is not a text of 1 to 512 characters"),
        (body(item(path=None)), "a path is not a text"),
        (body(item(), item()), "two files have the same path"),
        (body(item(path="a"), item(path="a/b")), '"a/b" lies below another file'),
        (body(item(size=-1)), "a size is not a number of bytes"),
        (body(item(size=True)), "a size is not a number of bytes"),
        (body(item(digest="sha256:1")), "a digest is not sha256:"),
        (body(item(), totalBytes=4), "totalBytes or digest does not fit"),
        (body(item(), digest="x"), "totalBytes or digest does not fit"),
    ],
)
def test_a_list_that_could_write_elsewhere_or_lies_is_refused(answer: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_weight_list(answer)
    assert caught.value.reason is Reason.SOURCE_INVALID
    assert message in caught.value.message


ACCESS = ServerAccess(
    parse_config(
        json.dumps(
            {
                "namespace": "a", "service": "b", "depot": {"host": "127.0.0.1", "port": 1, "serverName": "d"},
                "canaries": [], "weights": {"mode": "depot", "path": "/m"},
                "engine": {"port": 8080, "healthPath": "/h"},
            }
        ).encode(),
        host_ip="10.0.0.1",
    ).depot,
    token_file=Path("/none"), ca_file=Path("/none"),
)  # fmt: skip


def bring(root: Path, *files: WeightFile) -> None:
    wanted = WeightList(D, sum(file.size for file in files), files)
    bring_weights(ACCESS, wanted, root=root, stop=threading.Event(), progress=lambda _count: None)


def test_weights_that_do_not_fit_the_volume_are_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        bring(tmp_path, WeightFile("a", 1 << 49, D))
    assert caught.value.reason is Reason.SIZE_EXCEEDED
    assert f"{1 << 29} MiB" in caught.value.message
    assert "room for" in caught.value.message


def test_a_symbolic_link_in_the_volume_leads_nowhere(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "models"
    outside.mkdir()
    root.mkdir()
    (root / "sub").symlink_to(outside)
    data = b"abc"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    (outside / "model.gguf").write_bytes(data)
    with pytest.raises(Exception):  # noqa: B017, PT011 - no depot answers; what counts is what was not written
        bring(root, WeightFile("sub/model.gguf", 3, digest))
    assert not (root / "sub").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["model.gguf"]


def test_what_is_there_and_verifies_is_kept_and_strangers_go(tmp_path: Path) -> None:
    data = os.urandom(1000)
    (tmp_path / "model.gguf").write_bytes(data)
    (tmp_path / "stranger").write_bytes(b"x")
    bring(tmp_path, WeightFile("model.gguf", 1000, f"sha256:{hashlib.sha256(data).hexdigest()}"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    wipe_weights(tmp_path)
    assert list(tmp_path.iterdir()) == []


CONFIG: dict[str, Any] = {
    "namespace": "a", "service": "b", "depot": {"host": "10.0.0.1", "port": 443, "serverName": "depot"},
    "canaries": [{"name": "node", "host": "$HOST_IP", "port": 10250, "protocols": ["tcp"]}],
    "weights": {"mode": "depot", "path": "/models"}, "engine": {"port": 8080, "healthPath": "/health"},
}  # fmt: skip


def parse(**changes: Any) -> Any:
    return parse_config(json.dumps(CONFIG | changes).encode(), host_ip="10.9.0.2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depot": {"host": "depot.svc", "port": 443, "serverName": "d"}}, "depot.host is not an IP address"),
        ({"depot": None}, "depot is not an object"),
        ({"depot": {"host": "10.0.0.1", "port": 0, "serverName": "d"}}, "depot.port is not a port"),
        ({"weights": {"mode": "else", "path": "/m"}}, "weights.mode is none of depot, mounted, sealed"),
        ({"engine": {"port": 8080, "healthPath": "health"}}, "engine.healthPath is not an absolute path"),
        ({"egress": [{"cidr": "everywhere", "ports": [1]}]}, "cidr of an egress rule is not an address range"),
        ({"egress": [{"cidr": "0.0.0.0/0", "ports": []}]}, "an egress rule names no port"),
        ({"egress": [{"cidr": "10.0.0.1; accept", "ports": [1]}]}, "cidr of an egress rule is not an address range"),
        ({"proofIntervalSeconds": 0}, "proofIntervalSeconds is not a number of seconds"),
        ({"namespace": ""}, "namespace is not a printable text"),
        ({"canaries": None}, "canaries is not a list"),
    ],
)
def test_a_configuration_that_cannot_be_used_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(**changes)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert message in caught.value.message


def test_the_fence_drops_by_default_on_every_hook_and_accepts_only_what_is_named() -> None:
    text = render_fence(parse(egress=[{"cidr": "10.2.3.4/24", "ports": [5432, 443]}]), agent_port=8181).text()
    assert text.count("policy drop;") == 3
    assert "delete table inet sekisho_fence" in text
    accepts = [line.strip() for line in text.splitlines() if line.strip().endswith("accept")]
    assert accepts == [
        'iifname "lo" accept',
        "ct state established,related accept",
        "tcp dport { 8080, 8181 } ct state new accept",
        'oifname "lo" accept',
        "ct state established,related accept",
        "ip daddr 10.0.0.1 tcp dport { 443 } ct state new accept",
        "ip daddr 10.2.3.0/24 tcp dport { 5432, 443 } ct state new accept",
    ]


def test_a_fence_that_does_not_stand_as_rendered_is_noticed() -> None:
    ruleset = render_fence(parse(), agent_port=8181)
    assert find_difference(ruleset, "nonsense") == "nft printed no JSON listing"
    assert find_difference(ruleset, '{"nftables": []}') == "chain input has policy none, not drop"
    chain = {"name": "input", "hook": "input", "policy": "drop"}
    listing = json.dumps({"nftables": [{"chain": chain}]})
    assert find_difference(ruleset, listing) == "chain input has 0 rules, 5 rendered"


def test_a_proof_ages_and_only_a_clean_round_renews_it() -> None:
    now = [0.0]
    state = AgentState(clock=lambda: now[0])
    state.renew_proof()
    assert state.isolation().reason is Reason.ISOLATION_PENDING
    state.record_proof(max_age_seconds=90)
    now[0] = 80
    state.renew_proof()
    now[0] = 160
    assert state.isolation().ok
    state.record_failure(Reason.DEPOT_UNREACHABLE, "no answer", final=False)
    assert state.isolation().ok
    now[0] = 171
    health = state.isolation()
    assert (health.ok, health.reason) == (False, Reason.ISOLATION_PROOF_STALE)
    assert health.message == "the last proof is 91 s old, 90 s allowed; since then: no answer"
    state.renew_proof()
    assert not state.isolation().ok


def test_an_unknown_command_ends_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve"]) == 64
    assert capsys.readouterr().err == "usage: sekisho-agent fence|run\n"


def test_the_agent_answers_probes_and_ends_quickly_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    env = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[3] / "operator"), "SEKISHO_CONFIG_DIR": str(tmp_path),
        "SEKISHO_BIND": "127.0.0.1", "SEKISHO_AGENT_PORT": str(port),
    }  # fmt: skip
    command = [sys.executable, "-m", "sekisho.agent.main", "run"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())  # it looked for its configuration
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as response:
                    assert response.status == 200
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert first["reason"] == "InvalidSpec"
    assert "the agent ends" in [json.loads(line)["message"] for line in output.splitlines()]
