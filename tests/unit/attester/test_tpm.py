"""What a node's TPM is asked for, over the socket of one that behaves and of some that do not."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.attest.tpm2.credential import make_credential
from sekisho.attest.tpm2.structures import EK_ECC, EK_ECC_384, EK_RSA, EK_RSA_3072, parse_public
from sekisho.attester.tpm import Tpm, _cut_der
from sekisho.attester.transport import open_tpm
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.simulators.tpm.simulated import Maker, SimulatedTpm, SocketTpm
from tests.unit.fuzz import flip_last

MAKER = Maker()


@pytest.fixture
def simulated() -> SimulatedTpm:
    return SimulatedTpm(MAKER)


@pytest.fixture
def tpm(simulated: SimulatedTpm, tmp_path: Path) -> Iterator[Tpm]:
    with SocketTpm(tmp_path / "tpm.sock", simulated) as served:
        yield Tpm(served.path)


@contextmanager
def answering(path: Path, data: bytes) -> Iterator[Path]:
    """A socket that answers every connection with these bytes and hangs up."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        thread.join(60)


def test_without_a_tpm_there_is_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="there is no TPM at") as raised:
        Tpm(tmp_path / "none").read_attestation_key()
    assert raised.value.reason is Reason.EVIDENCE_MISSING


def test_a_tpm_nobody_serves_may_come_back(tmp_path: Path) -> None:
    path = tmp_path / "tpm.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    with pytest.raises(UnavailableError, match="cannot be used: Connection refused"):
        Tpm(path).read_attestation_key()


def test_a_tpm_that_hangs_up_in_the_middle_is_told(tmp_path: Path) -> None:
    cut = struct.pack(">HII", 0x8001, 40, 0)
    with answering(tmp_path / "tpm.sock", cut) as path, pytest.raises(UnavailableError, match="hung up in the middle"):
        Tpm(path).read_attestation_key()


def test_a_tpm_that_announces_too_much_is_refused(tmp_path: Path) -> None:
    huge = struct.pack(">HII", 0x8001, 1 << 30, 0)
    with (
        answering(tmp_path / "tpm.sock", huge) as path,
        pytest.raises(RefusedError, match="announces 1073741824 bytes"),
    ):
        Tpm(path).read_attestation_key()


def test_a_device_is_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / "tpm0"
    file.write_bytes(b"")
    with open_tpm(file) as channel:
        assert channel.execute(b"command") == b""
    assert file.read_bytes() == b"command"


KINDS = {"rsa": EK_RSA, "ecc": EK_ECC, "rsa3072": EK_RSA_3072, "ecc384": EK_ECC_384}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tpm_shows_the_key_its_maker_certified(kind: str, tmp_path: Path) -> None:
    simulated = SimulatedTpm(MAKER, kind=kind)
    with SocketTpm(tmp_path / "tpm.sock", simulated) as served:
        found = Tpm(served.path).read_endorsement()
    assert found.kind is KINDS[kind]
    assert found.certificate == simulated.certificate
    assert parse_public(found.public).public == simulated.ek.public_key()
    assert simulated.loaded == {}


def test_a_tpm_without_a_certificate_cannot_be_enrolled(tpm: Tpm, simulated: SimulatedTpm) -> None:
    simulated.certificate = None
    with pytest.raises(RefusedError, match="holds no certificate of an endorsement key") as raised:
        tpm.read_endorsement()
    assert raised.value.reason is Reason.EVIDENCE_MISSING


def test_what_a_maker_left_behind_a_certificate_is_cut_off(tpm: Tpm, simulated: SimulatedTpm) -> None:
    assert simulated.certificate is not None
    whole = simulated.certificate
    simulated.certificate = whole + b"\xff" * 700
    assert tpm.read_endorsement().certificate == whole
    assert _cut_der(b"abc") == b"abc"


def test_the_attestation_key_is_the_same_every_time_and_leaves_no_slot_taken(tpm: Tpm, simulated: SimulatedTpm) -> None:
    names = {tpm.read_attestation_key().name for _ in range(5)}
    assert len(names) == 1
    assert simulated.loaded == {}


def test_a_quote_carries_the_values_it_speaks_of(tpm: Tpm, simulated: SimulatedTpm) -> None:
    quote = tpm.quote(b"n" * 32)
    assert b"n" * 32 in quote.attest
    assert dict(quote.pcrs) == {number: simulated.pcrs[number] for number in tpm.pcrs}
    assert quote.name == tpm.read_attestation_key().name


def test_pcrs_that_never_rest_are_not_quoted(
    tpm: Tpm, simulated: SimulatedTpm, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = simulated._read_pcrs

    def moving(cursor: object) -> bytes:
        simulated.pcrs[0] = len(simulated.commands).to_bytes(32, "big")
        return quiet(cursor)  # type: ignore[arg-type]

    monkeypatch.setattr(simulated, "_read_pcrs", moving)
    with pytest.raises(RefusedError, match="change while they are quoted"):
        tpm.quote(b"n" * 32)
    assert simulated.loaded == {}


def test_a_bank_that_is_not_there_is_told(tpm: Tpm, simulated: SimulatedTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = struct.pack(">II", 1, 1) + struct.pack(">HB", 0xB, 3) + bytes(3) + struct.pack(">I", 0)
    monkeypatch.setattr(simulated, "_read_pcrs", lambda cursor: cursor.take(len(cursor.data) - cursor.at) and nothing)
    with pytest.raises(RefusedError, match="has no SHA-256 bank of PCR 0"):
        tpm.quote(b"n" * 32)


def test_a_busy_tpm_is_asked_again_and_not_for_ever(
    tpm: Tpm, simulated: SimulatedTpm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.attester.transport._PAUSE_SECONDS", 0.0)
    simulated.busy = 39
    assert tpm.quote(b"n" * 32).attest
    simulated.busy = 40
    with pytest.raises(UnavailableError, match="busy with CreatePrimary"):
        tpm.quote(b"n" * 32)


@pytest.mark.parametrize("kind", ["ecc", "ecc384"])
def test_a_credential_made_for_it_is_opened_and_another_is_not(kind: str, tmp_path: Path) -> None:
    simulated = SimulatedTpm(MAKER, kind=kind)
    with SocketTpm(tmp_path / "tpm.sock", simulated) as served:
        open_credentials(Tpm(served.path), simulated)


def open_credentials(tpm: Tpm, simulated: SimulatedTpm) -> None:
    found, key = tpm.read_endorsement(), tpm.read_attestation_key()
    endorsement = parse_public(found.public)
    made = make_credential(endorsement, key.name, bytes(range(32)), entropy=bytes(48))
    assert tpm.activate(found.kind, blob=made.blob, secret=made.secret) == bytes(range(32))
    other = make_credential(endorsement, flip_last(key.name), bytes(32), entropy=bytes(48))
    with pytest.raises(RefusedError, match="the credential was made for another key"):
        tpm.activate(found.kind, blob=other.blob, secret=other.secret)
    assert simulated.loaded == {}
    assert simulated.sessions == {} or simulated.sessions.values()


def test_fewer_pcrs_may_be_asked_for(tpm: Tpm) -> None:
    assert [number for number, _ in replace(tpm, pcrs=(0, 7)).quote(b"n" * 32).pcrs] == [0, 7]
