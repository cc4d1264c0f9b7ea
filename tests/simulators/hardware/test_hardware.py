"""The simulated hardware is spelt as the real one is, and nothing of the product knows of it."""

import datetime as dt
import os
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.simulators.hardware.configfs import Report, TsmSource, can_serve, chip_source, serve_tsm
from tests.simulators.hardware.snp import SIGNED_BYTES, Product, SimulatedSnp, Tcb

ROOT = Path(__file__).parents[3]
VECTORS = ROOT.parent / "shared" / "vectors" / "snp"
PRODUCT = ("operator", "charts", "crds", "policies", "inference-images")
VENDOR_ROOTS = {  # SHA-256 of the only roots that anything shipped may hold
    "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",  # ARK-Milan
    "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",  # ARK-Genoa
    "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",  # ARK-Turin
    "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",  # Intel SGX Root CA
    "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48",  # NVIDIA Device Identity CA
    "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",  # AWS Nitro Enclaves Root G1
}
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")

needs_fuse = pytest.mark.skipif(not can_serve(), reason="serving a folder by FUSE needs root and /dev/fuse")


def shipped() -> list[Path]:
    return [
        path
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"tests", "build", "__pycache__"} & set(path.parts)
    ]


def test_nothing_that_is_shipped_names_the_simulators() -> None:
    word = re.compile(rb"tests[./]simulators|SimulatedSnp|simulators[./]hardware")
    assert [str(path) for path in shipped() if word.search(path.read_bytes())] == []


def test_the_only_roots_that_are_shipped_are_those_of_vendors() -> None:
    strange = []
    for path in shipped():
        data = path.read_bytes()
        found = [x509.load_pem_x509_certificate(pem) for pem in _PEM.findall(data)]
        if path.suffix in (".der", ".cer", ".crt") and not found:
            found = [x509.load_der_x509_certificate(data)]
        roots = {item.fingerprint(hashes.SHA256()).hex() for item in found if item.issuer == item.subject}
        if roots - VENDOR_ROOTS:
            strange.append(str(path))
    assert strange == []


@pytest.mark.slow
@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
@pytest.mark.parametrize("signer", ["vcek", "vlek"])
def test_a_chain_holds_and_ends_at_the_simulators_own_root(product: Product, signer: Any) -> None:
    leaf, intermediate, root = map(x509.load_der_x509_certificate, SimulatedSnp(product).chain(signer))
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert root.fingerprint(hashes.SHA256()).hex() not in VENDOR_ROOTS


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_a_report_is_signed_by_the_key_of_its_certificate(version: int) -> None:
    chip = SimulatedSnp("Genoa")
    evidence = chip.evidence(b"asked", version=version)
    report = evidence.report
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    key = x509.load_der_x509_certificate(evidence.certificates[0]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(r, s), report[:SIGNED_BYTES], ec.ECDSA(hashes.SHA384()))
    assert report[0x50:0x90] == b"asked".ljust(64, b"\0")
    assert int.from_bytes(report[:4], "little") == version


@pytest.mark.slow
def test_two_chips_and_two_worlds_are_told_apart() -> None:
    chip = SimulatedSnp()
    assert chip.chip_id != SimulatedSnp(seed=1).chip_id
    assert chip.ark != SimulatedSnp(world="second").ark
    with pytest.raises(ValueError, match="a report has no field speed"):
        chip.report(speed=1)


def test_a_list_of_revoked_certificates_is_the_roots() -> None:
    chip = SimulatedSnp()
    crl = x509.load_der_x509_crl(chip.crl(0x10001, issued_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    root = x509.load_der_x509_certificate(chip.ark)
    assert crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]
    assert [item.serial_number for item in crl] == [0x10001]


@pytest.mark.skipif(not VECTORS.exists(), reason=f"the recorded evidence is not there: {VECTORS}")
def test_a_recorded_report_spelt_anew_from_its_fields_is_the_same_bytes() -> None:
    real = bytes.fromhex((VECTORS / "milan_v2_report.hex").read_text().strip())
    number = int.from_bytes

    def tcb(at: int) -> Tcb:
        part = real[at : at + 8]
        return Tcb(part[0], part[1], part[6], part[7])

    flags = number(real[0x48:0x4C], "little")
    spelt = SimulatedSnp("Milan").report(
        real[0x50:0x90], version=number(real[:4], "little"), guest_svn=number(real[4:8], "little"),
        policy=number(real[8:16], "little"), family_id=real[0x10:0x20], image_id=real[0x20:0x30],
        vmpl=number(real[0x30:0x34], "little"), current_tcb=tcb(0x38), platform_info=number(real[0x40:0x48], "little"),
        author_key_en=flags & 1, mask_chip_key=flags >> 1 & 1, signing_key=flags >> 2, measurement=real[0x90:0xC0],
        host_data=real[0xC0:0xE0], id_key_digest=real[0xE0:0x110], author_key_digest=real[0x110:0x140],
        report_id=real[0x140:0x160], report_id_ma=real[0x160:0x180], reported_tcb=tcb(0x180),
        chip_id=real[0x1A0:0x1E0], committed_tcb=tcb(0x1E0), current_version=real[0x1E8:0x1EB],
        committed_version=real[0x1EC:0x1EF], launch_tcb=tcb(0x1F0),
    )  # fmt: skip
    assert spelt[:SIGNED_BYTES] == real[:SIGNED_BYTES]


@needs_fuse
def test_the_folder_of_reports_behaves_as_the_kernels(tmp_path: Path) -> None:
    chip = SimulatedSnp()
    with serve_tsm(tmp_path, chip_source(chip)):
        entry = tmp_path / "mine"
        entry.mkdir()
        with pytest.raises(FileExistsError):
            entry.mkdir()
        assert {path.name for path in entry.iterdir()} == {
            "auxblob", "generation", "inblob", "outblob", "privlevel", "privlevel_floor", "provider",
        }  # fmt: skip
        with pytest.raises(OSError, match="Invalid argument"):
            (entry / "outblob").read_bytes()
        with pytest.raises(OSError, match="Invalid argument"):
            write(entry / "inblob", bytes(65))
        write(entry / "inblob", b"a" * 64)
        write(entry / "inblob", b"b" * 64)
        assert (entry / "generation").read_text() == "2\n"
        assert (entry / "provider").read_text() == "sev_guest\n"
        assert (entry / "outblob").read_bytes()[0x50:0x90] == b"b" * 64
        assert (entry / "auxblob").read_bytes() == chip.certificate_table()
        entry.rmdir()
        assert list(tmp_path.iterdir()) == []
    assert not os.path.ismount(tmp_path)


@needs_fuse
def test_a_tdx_guest_has_no_certificates_beside_its_quote(tmp_path: Path) -> None:
    with serve_tsm(tmp_path, TsmSource("tdx_guest", lambda inblob: Report(b"quote of " + inblob))):
        entry = tmp_path / "mine"
        entry.mkdir()
        write(entry / "inblob", b"x")
        assert (entry / "outblob").read_bytes() == b"quote of x"
        assert not (entry / "auxblob").exists()


def write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
