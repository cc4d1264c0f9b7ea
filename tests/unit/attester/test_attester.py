"""What pods may ask of their node's attester, and everything it refuses; over TLS, with a TPM that behaves."""

import asyncio
import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from sekisho.attest.evidence import UnverifiedEvidence, parse_evidence
from sekisho.attest.tpm2.structures import parse_public
from sekisho.attest.verifiers.tpm import TpmCollateral, verify_tpm
from sekisho.attester.collecting import Hardware, spell_quote
from sekisho.attester.process import RunningAttester, run_attester
from sekisho.attester.settings import AttesterSettings, read_settings
from sekisho.attester.tpm import Tpm
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.simulators.tpm.simulated import NOW, Maker, SimulatedTpm, SocketTpm
from tests.unit.depot.parts import TOKEN, Keys, SimulatedCluster, build_keys, build_pod

DIGEST = bytes(range(32))
POD = build_pod(node="n1")


def question(digest: bytes = DIGEST) -> bytes:
    return json.dumps({"bindingDigest": base64.b64encode(digest).decode()}).encode()


@dataclass
class Scene:
    """An attester that runs on node n1."""

    cluster: SimulatedCluster
    tpm: SimulatedTpm
    running: RunningAttester
    tls: Keys

    async def ask(self, body: bytes, *, token: str = TOKEN, path: str = "/v1/quote") -> tuple[int, dict[str, Any]]:
        def send() -> tuple[int, dict[str, Any]]:
            url = f"https://127.0.0.1:{self.running.https_port}{path}"
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            request = urllib.request.Request(url, data=body, headers=headers, method="POST")
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            try:
                with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.loads(error.read())

        return await asyncio.to_thread(send)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    cluster, tpm = SimulatedCluster(), SimulatedTpm(Maker())
    cluster.add_pod(POD, TOKEN)
    tls = build_keys(tmp_path / "tls", "127.0.0.1")
    with SocketTpm(tmp_path / "tpm.sock", tpm) as served:
        settings = AttesterSettings(
            "n1", tpm=served.path, tls_dir=tmp_path / "tls", host="127.0.0.1", https_port=0, health_port=0
        )
        async with run_attester(settings, cluster, meter=NoOpMeter("test")) as running:
            yield Scene(cluster, tpm, running, tls)


async def test_a_pod_of_the_node_gets_its_digest_quoted(scene: Scene) -> None:
    status, body = await scene.ask(question())
    assert status == 200
    (piece,) = parse_evidence(body["evidence"])
    with pytest.raises(RefusedError):
        verify_tpm(piece, TpmCollateral(), at=NOW)
    name = parse_public(piece.part("akPublic")).name
    claims = verify_tpm(piece, TpmCollateral(enrolled=frozenset({name})), at=NOW)
    assert claims.bound_data == DIGEST
    assert claims.register("pcr4") == scene.tpm.pcrs[4]
    assert claims.debug is False


async def test_a_pod_of_another_node_is_refused(scene: Scene) -> None:
    scene.cluster.add_pod(replace(POD, node="n2"), TOKEN)
    status, said = await scene.ask(question())
    assert (status, said["reason"]) == (403, "PodNotKnown")
    assert said["message"] == "pod team-a/chat-0 runs on node n2, this attester on n1"


async def test_a_pod_that_is_bound_to_no_node_is_refused(scene: Scene) -> None:
    scene.cluster.add_pod(replace(POD, node=""), TOKEN)
    status, said = await scene.ask(question())
    assert (status, said["message"]) == (403, "pod team-a/chat-0 runs on node none, this attester on n1")


async def test_a_stranger_is_refused(scene: Scene) -> None:
    assert (await scene.ask(question(), token=""))[0] == 401
    assert (await scene.ask(question(), token="forged"))[0] == 401
    assert scene.tpm.commands == []


async def test_a_pod_of_no_service_is_refused(scene: Scene) -> None:
    scene.cluster.add_pod(replace(POD, service=""), TOKEN)
    status, said = await scene.ask(question())
    assert (status, said["reason"]) == (403, "PodNotKnown")
    assert "belongs to no InferenceService" in said["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"bindingDigest": 7}', b'{"bindingDigest": "!"}', question(bytes(31)), question(bytes(33)),
        b'{"bindingDigest": "", "more": 1}', b"[" * 1000,
    ],
)  # fmt: skip
async def test_a_body_that_asks_nothing_is_refused(scene: Scene, body: bytes) -> None:
    status, said = await scene.ask(body)
    assert (status, said["reason"]) == (400, "RequestInvalid")
    assert "base64 of 32 or 64 bytes" in said["message"]


async def test_a_body_that_is_too_large_is_not_read(scene: Scene) -> None:
    assert (await scene.ask(b" " * 2000))[1]["reason"] == "RequestTooLarge"
    assert (await scene.ask(question(), path="/v1/other"))[0] == 404


async def test_what_the_hardware_cannot_sign_is_told(scene: Scene) -> None:
    status, said = await scene.ask(question(bytes(64)))
    assert (status, said["reason"]) == (403, "EvidenceMissing")
    assert said["message"] == "this node has no hardware that signs 64 bytes"


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a pod less in a second than the slowest machine asks."""
    monkeypatch.setattr("sekisho.attester.process.PODS_PER_SECOND", 0.2)


async def test_a_pod_that_asks_too_often_is_sent_away(slowly: None, scene: Scene) -> None:
    answers = [await scene.ask(question()) for _ in range(8)]
    assert {status for status, _ in answers} == {200, 429}
    assert answers[-1][1]["reason"] == "Overloaded"


async def test_the_api_server_being_down_is_no_refusal(scene: Scene) -> None:
    scene.cluster.down = True
    status, said = await scene.ask(question())
    assert (status, said["reason"]) == (503, "ApiUnavailable")


async def test_quotes_are_made_one_after_the_other_and_not_too_many_wait(tmp_path: Path) -> None:
    tpm = SimulatedTpm(Maker())
    with SocketTpm(tmp_path / "tpm.sock", tpm) as served:
        hardware = Hardware(Tpm(served.path))
        asked = [hardware.sign(DIGEST) for _ in range(40)]
        results = await asyncio.gather(*asked, return_exceptions=True)
    refused = [result for result in results if isinstance(result, UnavailableError)]
    assert len(refused) == 8
    assert "32 requests wait for this node's hardware" in refused[0].message
    assert tpm.loaded == {}


async def test_hardware_that_is_not_there_signs_nothing_and_is_not_enrolled() -> None:
    hardware = Hardware(None)
    with pytest.raises(RefusedError, match="no hardware that signs 32 bytes"):
        await hardware.sign(DIGEST)
    with pytest.raises(RefusedError, match="no TPM to enrol"):
        await hardware.read_identity()


async def test_the_event_log_comes_along_where_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    with SocketTpm(tmp_path / "tpm.sock", SimulatedTpm(Maker())) as served:
        hardware = Hardware(Tpm(served.path), event_log=log)
        assert "eventLog" not in dict((await hardware.sign(DIGEST))[0].extras)
        log.write_bytes(b"measured")
        assert (await hardware.sign(DIGEST))[0].part("eventLog") == b"measured"
        monkeypatch.setattr("sekisho.attester.collecting.MAX_LOG_BYTES", 7)
        assert "eventLog" not in dict((await hardware.sign(DIGEST))[0].extras)
        assert spell_quote(Tpm(served.path).quote(DIGEST), b"").kind == "tpm"


@dataclass
class SimulatedDevices:
    """Devices that give what they are told to give."""

    pieces: tuple[UnverifiedEvidence, ...] = (UnverifiedEvidence("nvidia-gpu", b"report"),)
    problem: str = ""
    asked: list[bytes] = field(default_factory=list)

    def read(self, nonce: bytes) -> tuple[UnverifiedEvidence, ...]:
        self.asked.append(nonce)
        if self.problem:
            raise UnavailableError(Reason.EVIDENCE_MISSING, self.problem)
        return self.pieces


async def test_devices_are_asked_for_the_node_and_never_for_a_pod(tmp_path: Path) -> None:
    devices = SimulatedDevices()
    with SocketTpm(tmp_path / "tpm.sock", SimulatedTpm(Maker())) as served:
        hardware = Hardware(Tpm(served.path), devices=devices)
        assert [piece.kind for piece in await hardware.sign(DIGEST)] == ["tpm"]
        assert devices.asked == []
        assert [piece.kind for piece in await hardware.sign_for_node(DIGEST)] == ["tpm", "nvidia-gpu"]
        assert devices.asked == [DIGEST]
        assert [piece.kind for piece in await Hardware(Tpm(served.path)).sign_for_node(DIGEST)] == ["tpm"]


async def test_a_node_of_devices_alone_signs_nothing_and_one_whose_driver_fails_asks_again(tmp_path: Path) -> None:
    devices = SimulatedDevices(problem="the GPU gives no evidence: it hangs")
    with pytest.raises(RefusedError, match="no hardware that signs 32 bytes"):
        await Hardware(None, devices=devices).sign_for_node(DIGEST)
    assert devices.asked == []
    with (
        SocketTpm(tmp_path / "tpm.sock", SimulatedTpm(Maker())) as served,
        pytest.raises(UnavailableError, match="it hangs") as raised,
    ):
        await Hardware(Tpm(served.path), devices=devices).sign_for_node(DIGEST)
    assert (raised.value.reason, raised.value.retry) == (Reason.EVIDENCE_MISSING, True)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "SEKISHO_NODE_NAME is missing"),
        ({"SEKISHO_NODE_NAME": "n1"}, "neither SEKISHO_TPM nor SEKISHO_TSM"),
        ({"SEKISHO_NODE_NAME": "n1", "SEKISHO_NVIDIA": "true"}, "neither SEKISHO_TPM nor SEKISHO_TSM"),
        ({"SEKISHO_NODE_NAME": "n1", "SEKISHO_TPM": "/t", "SEKISHO_PCRS": "0,24"}, "SEKISHO_PCRS is not a list"),
        ({"SEKISHO_NODE_NAME": "n1", "SEKISHO_TPM": "/t", "SEKISHO_PCRS": "a"}, "SEKISHO_PCRS is not a list"),
        ({"SEKISHO_NODE_NAME": "n1", "SEKISHO_TPM": "/t", "SEKISHO_HTTPS_PORT": "x"}, "SEKISHO_HTTPS_PORT is not"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environ: dict[str, str], told: str) -> None:
    with pytest.raises(RefusedError) as raised:
        read_settings(environ)
    assert (raised.value.reason, told in raised.value.message) == (Reason.INVALID_SPEC, True)


def test_variables_that_kubelets_make_of_services_are_no_settings() -> None:
    links = {
        "SEKISHO_TRUST_PORT": "tcp://10.96.0.9:443",
        "SEKISHO_ATTESTER_PORT": "tcp://10.96.0.8:443",
        "SEKISHO_TRUST_SERVICE_HOST": "10.96.0.9",
    }
    plain = {"SEKISHO_NODE_NAME": "n1", "SEKISHO_TPM": "/t"}
    assert read_settings(plain | links) == read_settings(plain)


def test_settings_are_read() -> None:
    read = read_settings({"SEKISHO_NODE_NAME": "n1", "SEKISHO_TPM": "/dev/tpmrm0", "SEKISHO_PCRS": "7, 4,4",
                          "SEKISHO_TSM": "/sys/kernel/config/tsm", "SEKISHO_TRUST_HOST": "trust"})  # fmt: skip
    assert (read.tpm, read.pcrs, read.tsm) == (Path("/dev/tpmrm0"), (4, 7), Path("/sys/kernel/config/tsm"))
    assert (read.trust_host, read.trust_name) == ("trust", "sekisho-trust.sekisho-system.svc")
    assert (read.nvidia, read.nvidia_libraries) == (False, None)


def test_gpus_are_asked_where_it_is_said_so_and_nowhere_else() -> None:
    plain = {"SEKISHO_NODE_NAME": "n1", "SEKISHO_TPM": "/t"}
    read = read_settings(plain | {"SEKISHO_NVIDIA": "true", "SEKISHO_NVIDIA_LIBRARIES": "/driver"})
    assert (read.nvidia, read.nvidia_libraries) == (True, Path("/driver"))
    assert not read_settings(plain | {"SEKISHO_NVIDIA": "yes"}).nvidia
