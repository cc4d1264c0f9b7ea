"""Collateral as files: what is read, what is left out and told of, and that no root but the makers' own counts."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.ocsp import OCSPCertStatus

from sekisho.attest.collateral import Loaded, parse_collateral
from sekisho.attest.pins import PINS
from sekisho.attest.verifiers.select import Collateral, verify_evidence
from tests.simulators.hardware.authorities import NOW, build_crl, build_holder
from tests.simulators.hardware.manifests import Publisher
from tests.simulators.hardware.tdx import AT, SimulatedTdx, pem
from tests.unit.attest.recorded import read_certificates, read_recorded
from tests.unit.attest.test_ocsp import answer

ROOT = build_holder("Root of a maker")
OTHER = build_holder("Root of another")
CA = build_holder("CA", ROOT)


def pin(*ders: bytes) -> dict[str, frozenset[str]]:
    digests = frozenset(hashlib.sha256(der).hexdigest() for der in ders)
    return dict.fromkeys(PINS, digests)


def load(files: Mapping[str, bytes], *, at: datetime = NOW, pins: Any = None) -> Loaded:
    return parse_collateral(files, at=at, pins=pin(ROOT.der) if pins is None else pins)


def told(loaded: Loaded) -> dict[str, str]:
    return {problem.file: problem.message for problem in loaded.problems}


def test_nothing_is_nothing() -> None:
    assert load({}) == Loaded(Collateral(), (), ())


@pytest.mark.parametrize("maker", sorted(set(PINS) - {"nvidia-rim"}))
def test_a_root_counts_where_it_is_its_makers_own(maker: str) -> None:
    loaded = load({f"{maker}-root.one.der": ROOT.der, f"{maker}-root.two.der": OTHER.der})
    field = {"amd": "snp", "intel": "tdx", "aws": "nitro", "nvidia": "nvidia"}[maker]
    assert getattr(loaded.collateral, field).roots == (ROOT.der,)
    digest = hashlib.sha256(OTHER.der).hexdigest()[:16]
    assert told(loaded) == {
        f"{maker}-root.two.der": f"the root with digest {digest}… is none of its maker's that this version knows"
    }


def test_no_made_up_root_counts_by_what_is_shipped() -> None:
    files = {f"{maker}-root.x.der": ROOT.der for maker in PINS}
    loaded = parse_collateral(files, at=NOW)
    assert loaded.collateral == Collateral()
    assert len(loaded.problems) == len(PINS) == 5


@pytest.mark.parametrize(
    ("maker", "name"),
    [("amd", "snp/genoa_ask_ark.pem"), ("amd", "snp/milan_ask_ark.pem"), ("amd", "snp/turin_ask_ark.pem")],
)
def test_the_recorded_roots_are_the_pinned_ones(maker: str, name: str) -> None:
    root = next(der for der in read_certificates(name) if x509.load_der_x509_certificate(der).subject == _issuer(der))
    loaded = parse_collateral({f"{maker}-root.x.der": root}, at=NOW)
    assert loaded.problems == ()


def _issuer(der: bytes) -> x509.Name:
    return x509.load_der_x509_certificate(der).issuer


def test_the_recorded_root_of_intel_is_the_pinned_one() -> None:
    chain = json.loads(read_recorded("tdx/tdx_quote_collateral.json"))["tcb_info_issuer_chain"].encode()
    root = next(item for item in x509.load_pem_x509_certificates(chain) if item.subject == item.issuer)
    loaded = parse_collateral({"intel-root.x.pem": root.public_bytes(Encoding.PEM)}, at=NOW)
    assert loaded.problems == ()
    assert loaded.collateral.tdx is not None


def test_certificates_come_as_der_or_as_several_in_pem_and_tell_their_window() -> None:
    both = ROOT.certificate.public_bytes(Encoding.PEM) + ROOT.certificate.public_bytes(Encoding.PEM)
    loaded = load({"amd-root.a.pem": both, "amd-ca.b.der": CA.der})
    assert loaded.collateral.snp is not None
    assert loaded.collateral.snp.roots == (ROOT.der, ROOT.der)
    assert loaded.collateral.snp.intermediates == (CA.der,)
    windows = {(item.kind, item.window.not_after) for item in loaded.items if item.window is not None}
    assert windows == {("amd-root", NOW + timedelta(days=365)), ("amd-ca", NOW + timedelta(days=365))}


def test_a_vcek_is_found_by_chip_and_security_version() -> None:
    name = f"{'ab' * 64}-{'00' * 8}"
    loaded = load({"amd-root.a.der": ROOT.der, f"amd-vcek.{name}.der": CA.der, "amd-vcek.mine.der": CA.der})
    assert loaded.collateral.snp is not None
    assert dict(loaded.collateral.snp.vceks) == {name: CA.der}
    assert told(loaded) == {
        "amd-vcek.mine.der": "a VCEK is called amd-vcek.CHIP-TCB.der, chip id and reported TCB in hexadecimal"
    }


def test_of_several_certificates_in_the_file_of_a_vcek_the_first_counts() -> None:
    name = f"{'ab' * 64}-{'00' * 8}"
    loaded = load({"amd-root.a.der": ROOT.der, f"amd-vcek.{name}.pem": pem(CA.der, ROOT.der)})
    assert loaded.collateral.snp is not None
    assert dict(loaded.collateral.snp.vceks) == {name: CA.der}


@pytest.mark.parametrize(("maker", "field"), [("amd", "snp"), ("intel", "tdx"), ("nvidia", "nvidia"), ("aws", "nitro")])
def test_a_revocation_list_counts_for_the_hardware_of_its_maker(maker: str, field: str) -> None:
    crl = build_crl(ROOT)
    roots = {f"{each}-root.a.der": ROOT.der for each in ("amd", "intel", "nvidia", "aws")}
    collateral = load(roots | {f"{maker}-crl.b.crl": crl}).collateral
    assert getattr(collateral, field).crls == (crl,)
    held = (collateral.snp, collateral.tdx, collateral.nvidia, collateral.nitro)
    assert sum(len(each.crls) for each in held if each is not None) == 1


def test_a_revocation_list_tells_when_it_ends() -> None:
    crl = build_crl(ROOT)
    loaded = load({"aws-root.a.der": ROOT.der, "aws-crl.b.crl": crl})
    assert loaded.collateral.nitro is not None
    assert loaded.collateral.nitro.crls == (crl,)
    item = next(item for item in loaded.items if item.kind == "aws-crl")
    assert item.window is not None
    assert item.window.not_after == NOW + timedelta(days=7)


BAD: dict[str, tuple[str, bytes, str]] = {
    "a name of nobody": ("notes.txt", b"", "its name is not KIND.NAME.SUFFIX"),
    "a kind of nobody": ("arm-root.x.der", b"", "arm-root is no kind of collateral"),
    "a kind that NVIDIA has not": ("nvidia-other.x.der", b"", "nvidia-other is no kind of collateral"),
    "a root that is none": ("amd-root.x.der", b"no DER", "a certificate in it is not an X.509 certificate"),
    "PEM with something between": ("amd-root.x.pem", pem(ROOT.der) + b"junk", "its certificates have something in"),
    "a list that is none": ("amd-crl.x.crl", b"no DER", "it is not an X.509 revocation list in DER"),
    "a statement without issuers": ("intel-tcb.x.json", b"{}", "put their certificates beside it as intel-tcb.x.pem"),
    "an issuer that is no JSON": ("token-issuer.x.json", b"{", "it is not JSON"),
    "an issuer that is no object": ("token-issuer.x.json", b"[]", "an issuer of tokens is an object of"),
    "an issuer with more": ("token-issuer.x.json", b'{"issuer": "a", "more": 1}', "is an object of"),
    "an issuer without a name": ("token-issuer.x.json", b'{"keys": {}}', "issuer is not text"),
    "an issuer without keys": ("token-issuer.x.json", b'{"issuer": "a"}', "has keys, a JSON Web Key Set, or roots"),
    "roots that are no list": ("token-issuer.x.json", b'{"issuer": "a", "roots": "x"}', "roots is not a list of texts"),
    "roots that are no text": (
        "token-issuer.x.json", b'{"issuer": "a", "roots": ["\\ud800"]}', "its roots have something in them that is no",
    ),
    "keys that are none": ("token-issuer.x.json", b'{"issuer": "a", "keys": {"keys": []}}', "no key of the set"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_is_left_out_and_told_of(case: str) -> None:
    file, data, message = BAD[case]
    loaded = load({file: data, "aws-root.x.der": ROOT.der})
    assert list(told(loaded)) == [file]
    assert message in told(loaded)[file]
    assert loaded.collateral.nitro is not None


@pytest.mark.parametrize(("count", "read"), [(64, 64), (65, 0)])
def test_a_file_holds_up_to_64_certificates(count: int, read: int) -> None:
    loaded = load({"amd-root.x.pem": pem(*[ROOT.der] * count)})
    assert len(loaded.items) == read
    assert told(loaded) == (
        {} if read else {"amd-root.x.pem": "its certificates have 65 in PEM, 1 to 64 are allowed"}
    )  # fmt: skip


def test_a_file_that_is_too_large_is_left_out() -> None:
    assert told(load({"amd-crl.x.der": bytes(8 << 20)})) == {
        "amd-crl.x.der": "it is not an X.509 revocation list in DER"
    }
    assert told(load({"amd-crl.x.der": bytes((8 << 20) + 1)})) == {
        "amd-crl.x.der": "it has 8388609 bytes, 8388608 are allowed"
    }


def test_a_list_without_an_end_is_left_out() -> None:
    class Endless:
        last_update_utc, next_update_utc = NOW, None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(x509, "load_der_x509_crl", lambda _data: Endless())
        assert told(load({"amd-crl.x.der": b"x"})) == {"amd-crl.x.der": "the revocation list does not say when it ends"}


def spell(platform: SimulatedTdx) -> dict[str, bytes]:
    """Spell a platform's collateral as files."""
    made = platform.collateral()
    tcb, qe = made.tcb_infos[0], made.qe_identities[0]
    issuers = pem(platform.signer, platform.root)
    return {
        "intel-root.x.der": platform.root,
        **{f"intel-crl.{number}.crl": crl for number, crl in enumerate(made.crls)},
        "intel-tcb.90c06f000000.json": b'{"tcbInfo":%b,"signature":"%b"}' % (tcb.body, tcb.signature.hex().encode()),
        "intel-tcb.90c06f000000.pem": issuers,
        "intel-qe.td.json": b'{"enclaveIdentity":%b,"signature":"%b"}' % (qe.body, qe.signature.hex().encode()),
        "intel-qe.td.pem": issuers,
    }


def test_a_quote_verifies_by_what_was_read_from_files() -> None:
    platform = SimulatedTdx()
    loaded = load(spell(platform), at=AT, pins=pin(platform.root))
    assert loaded.problems == ()
    assert {item.kind for item in loaded.items} == {"intel-root", "intel-crl", "intel-tcb", "intel-qe"}
    claims = verify_evidence(platform.evidence(), loaded.collateral, at=AT)
    assert claims.measurement == platform.mr_td


def test_a_statement_that_is_none_is_left_out() -> None:
    platform = SimulatedTdx()
    files = spell(platform) | {"intel-tcb.90c06f000000.json": b"{}"}
    loaded = load(files, at=AT, pins=pin(platform.root))
    assert list(told(loaded)) == ["intel-tcb.90c06f000000.json"]


def test_reference_manifests_count_once_they_are_verified() -> None:
    publisher = Publisher()
    xml = publisher.publish("550.90.07", {3: [b"\x01" * 48]})
    files = {"nvidia-root.x.der": ROOT.der, "nvidia-rim.driver.xml": xml, "nvidia-rim-root.x.der": publisher.root.der}
    loaded = load(files, pins=pin(ROOT.der, publisher.root.der))
    assert loaded.collateral.nvidia is not None
    assert [manifest.version for manifest in loaded.collateral.nvidia.manifests] == ["550.90.07"]
    assert [item.kind for item in loaded.items if item.file == "nvidia-rim.driver.xml"] == ["nvidia-rim"]
    without = load({name: data for name, data in files.items() if "rim-root" not in name})
    assert without.collateral.nvidia is not None
    assert without.collateral.nvidia.manifests == ()
    assert list(told(without)) == ["nvidia-rim.driver.xml"]
    late = load(files, at=NOW + timedelta(days=4000), pins=pin(ROOT.der, publisher.root.der))
    assert list(told(late)) == ["nvidia-rim.driver.xml"]
    foreign = load(files)  # a root of manifests that is not NVIDIA's
    assert list(told(foreign)) == ["nvidia-rim-root.x.der", "nvidia-rim.driver.xml"]


def test_answers_of_responders_count_for_devices() -> None:
    held = answer(status=OCSPCertStatus.REVOKED)
    files = {"nvidia-root.x.der": ROOT.der, "nvidia-ocsp.a.der": held, "nvidia-ocsp.b.der": answer(end=None)}
    loaded = load(files | {"nvidia-ocsp.c.der": b"x"})
    assert loaded.collateral.nvidia is not None
    assert loaded.collateral.nvidia.ocsp == (held,)
    (item,) = [item for item in loaded.items if item.kind == "nvidia-ocsp"]
    assert item.window is not None
    assert item.window.not_after == NOW + timedelta(hours=1)
    assert told(loaded)["nvidia-ocsp.b.der"].endswith("the OCSP answer does not say when it ends")
    assert "cannot be read" in told(loaded)["nvidia-ocsp.c.der"]


def jwks() -> dict[str, Any]:
    from base64 import urlsafe_b64encode  # noqa: PLC0415 - used here alone

    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return {"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "x": x, "y": y}]}


def test_issuers_of_tokens_are_read_with_keys_or_roots() -> None:
    ear = {"issuer": "https://trustee.test", "keys": jwks(), "statuses": ["affirming", "warning"], "audiences": ["us"]}
    gcs = {
        "issuer": "https://confidentialcomputing.googleapis.com",
        "roots": [pem(ROOT.der).decode()],
        "subjects": ["s"],
    }
    loaded = load({"token-issuer.a.json": json.dumps(ear).encode(), "token-issuer.b.json": json.dumps(gcs).encode()})
    assert loaded.problems == ()
    assert loaded.collateral.tokens is not None
    first, second = loaded.collateral.tokens.issuers
    assert (first.issuer, len(first.keys), first.statuses) == (ear["issuer"], 1, frozenset({"affirming", "warning"}))
    assert first.audiences == ("us",)
    assert (second.roots, second.subjects, second.statuses) == ((ROOT.der,), ("s",), frozenset({"affirming"}))


def test_the_order_of_files_decides_nothing() -> None:
    files = {"amd-root.a.der": ROOT.der, "amd-ca.b.der": CA.der, "nonsense": b""}
    assert load(files) == load(dict(reversed(files.items())))


def test_pins_are_digests_of_whole_certificates() -> None:
    """A root of the same key but another certificate does not count."""
    again = (
        x509.CertificateBuilder().subject_name(ROOT.name).issuer_name(ROOT.name).public_key(ROOT.key.public_key())
        .serial_number(7).not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(ROOT.key, SHA384())
    )  # fmt: skip
    same = again.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert same == ROOT.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert load({"amd-root.x.der": again.public_bytes(Encoding.DER)}).collateral.snp is None
    assert replace(load({}), problems=()) == load({})
