"""A real software TPM: its keys, its quotes and its maker's certificate, by our own commands."""

import secrets
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from e2e.cluster.host import require_packages
from e2e.cluster.progress import silent
from e2e.cluster.swtpm import SoftwareTpm, TpmMaker
from sekisho.attest.tpm2.credential import make_credential
from sekisho.attest.tpm2.structures import (
    EK_ECC_384,
    EK_RSA,
    EK_RSA_3072,
    EndorsementKind,
    check_attestation_key,
    check_endorsement_key,
    parse_public,
)
from sekisho.attest.tpm2.wire import Reader
from sekisho.attester.tpm import Tpm
from sekisho.errors import RefusedError
from sekisho.trust.enrolment import Makers, verify_endorsement
from tests.unit.fuzz import flip_last


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> TpmMaker:
    return TpmMaker(tmp_path_factory.mktemp("maker")).prepare()


@pytest.fixture(scope="module")
def live(maker: TpmMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    with SoftwareTpm(tmp_path_factory.mktemp("tpm"), maker) as tpm:
        yield tpm


@pytest.fixture
def tpm(live: SoftwareTpm) -> Tpm:
    return Tpm(live.socket)


def test_its_endorsement_key_is_the_one_its_maker_certified(tpm: Tpm, maker: TpmMaker) -> None:
    found = tpm.read_endorsement()
    key = parse_public(found.public)
    check_endorsement_key(key)
    certificate = x509.load_der_x509_certificate(found.certificate)
    assert found.kind is EK_RSA
    assert certificate.public_key() == key.public
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(maker.intermediate_pem.encode()))


def test_a_secret_made_for_it_is_opened_by_it_and_for_its_own_key_alone(tpm: Tpm) -> None:
    found, key = tpm.read_endorsement(), tpm.read_attestation_key()
    endorsement, secret = parse_public(found.public), secrets.token_bytes(32)
    made = make_credential(endorsement, key.name, secret, entropy=secrets.token_bytes(48))
    assert tpm.activate(found.kind, blob=made.blob, secret=made.secret) == secret
    other = make_credential(endorsement, flip_last(key.name), secret, entropy=secrets.token_bytes(48))
    with pytest.raises(RefusedError, match="the credential was made for another key"):
        tpm.activate(found.kind, blob=other.blob, secret=other.secret)


@pytest.fixture(scope="module")
def high(maker: TpmMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    with SoftwareTpm(tmp_path_factory.mktemp("high"), maker, rsa_bits=3072) as tpm:
        yield tpm


@pytest.mark.parametrize("kind", [EK_RSA_3072, EK_ECC_384], ids=["rsa3072", "p384"])
def test_keys_of_the_larger_kinds_are_those_that_were_certified_and_open_what_is_made_for_them(
    high: SoftwareTpm, maker: TpmMaker, kind: EndorsementKind
) -> None:
    tpm = Tpm(high.socket, kinds=(kind,))
    found, key = tpm.read_endorsement(), tpm.read_attestation_key()
    endorsement, secret = parse_public(found.public), secrets.token_bytes(32)
    check_endorsement_key(endorsement)
    certificate = x509.load_der_x509_certificate(found.certificate)
    assert certificate.public_key() == endorsement.public
    makers = Makers(*(_der(text) for text in (maker.root_pem, maker.intermediate_pem)))
    verify_endorsement(endorsement, (found.certificate,), makers, at=datetime.now(UTC))
    made = make_credential(endorsement, key.name, secret, entropy=secrets.token_bytes(48))
    assert tpm.activate(kind, blob=made.blob, secret=made.secret) == secret
    other = make_credential(endorsement, flip_last(key.name), secret, entropy=secrets.token_bytes(48))
    with pytest.raises(RefusedError, match="the credential was made for another key"):
        tpm.activate(kind, blob=other.blob, secret=other.secret)


def _der(pem: str) -> tuple[bytes, ...]:
    found = x509.load_pem_x509_certificates(pem.encode())
    return tuple(item.public_bytes(serialization.Encoding.DER) for item in found)


def test_a_secret_made_for_another_tpm_is_not_opened(tpm: Tpm, maker: TpmMaker, tmp_path: Path) -> None:
    key = tpm.read_attestation_key()
    with SoftwareTpm(tmp_path / "other", maker) as stranger:
        endorsement = parse_public(Tpm(stranger.socket).read_endorsement().public)
    made = make_credential(endorsement, key.name, bytes(32), entropy=secrets.token_bytes(48))
    with pytest.raises(RefusedError, match="the TPM refused ActivateCredential"):
        tpm.activate(EK_RSA, blob=made.blob, secret=made.secret)


def test_a_quote_is_signed_by_its_attestation_key_over_its_pcrs(tpm: Tpm, live: SoftwareTpm) -> None:
    before = tpm.quote(b"n" * 32)
    live.extend(4, b"another kernel")
    after = tpm.quote(b"n" * 32)
    key = parse_public(after.public)
    check_attestation_key(key)
    assert before.name == after.name == key.name
    assert {n for n, value in after.pcrs if dict(before.pcrs)[n] != value} == {4}
    reader = Reader(after.signature, "signature")
    assert (reader.u16(), reader.u16()) == (0x18, 0xB)
    r, s = (int.from_bytes(reader.sized(32), "big") for _ in range(2))
    assert isinstance(key.public, ec.EllipticCurvePublicKey)
    key.public.verify(encode_dss_signature(r, s), after.attest, ec.ECDSA(hashes.SHA256()))


def test_its_keys_survive_a_reboot_and_its_slots_are_not_used_up(maker: TpmMaker, tmp_path: Path) -> None:
    live = SoftwareTpm(tmp_path / "tpm", maker)
    with live:
        first = Tpm(live.socket).quote(bytes(32))
        for _ in range(6):
            Tpm(live.socket).quote(bytes(32))
    with live:
        again = Tpm(live.socket).quote(bytes(32))
    assert (again.name, again.pcrs) == (first.name, first.pcrs)


@pytest.fixture(scope="module")
def tools() -> None:
    require_packages({"tpm2_checkquote": "tpm2-tools"}, silent)


def pem_of(public: bytes) -> bytes:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return parse_public(public).public.public_bytes(*form)


@pytest.mark.usefixtures("tools")
def test_others_tools_find_our_quote_good_and_one_for_another_nonce_not(tpm: Tpm, tmp_path: Path) -> None:
    quote = tpm.quote(bytes(range(32)))
    for name, content in (("ak.pem", pem_of(quote.public)), ("msg", quote.attest), ("sig", quote.signature)):
        (tmp_path / name).write_bytes(content)
    command = ("tpm2_checkquote", "-u", "ak.pem", "-m", "msg", "-s", "sig", "-g", "sha256", "-q")
    good = subprocess.run((*command, bytes(range(32)).hex()), cwd=tmp_path, capture_output=True, check=False)
    other = subprocess.run((*command, bytes(32).hex()), cwd=tmp_path, capture_output=True, check=False)
    assert (good.returncode, other.returncode == 0) == (0, False), good.stderr


@pytest.mark.usefixtures("tools")
def test_a_credential_that_others_tools_made_is_opened(tpm: Tpm, tmp_path: Path) -> None:
    found, key = tpm.read_endorsement(), tpm.read_attestation_key()
    (tmp_path / "ek.pem").write_bytes(pem_of(found.public))
    (tmp_path / "secret").write_bytes(bytes(range(32)))
    command = ("tpm2_makecredential", "-T", "none", "-u", "ek.pem", "-G", "rsa", "-s", "secret", "-n", key.name.hex(),
               "-o", "made")  # fmt: skip
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    reader = Reader((tmp_path / "made").read_bytes(), "credential")
    assert (reader.u32(), reader.u32()) == (0xBADCC0DE, 1)
    assert tpm.activate(found.kind, blob=reader.sized(), secret=reader.sized()) == bytes(range(32))
