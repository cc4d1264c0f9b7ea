"""Public areas: what is read, what is refused, and what a key must be to endorse or to attest."""

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from sekisho.attest.tpm2 import structures
from sekisho.attest.tpm2.structures import (
    AK_TEMPLATE,
    EK_ECC,
    EK_ECC_384,
    EK_KINDS,
    EK_POLICY,
    EK_POLICY_384,
    EK_RSA,
    EK_RSA_3072,
    check_attestation_key,
    check_endorsement_key,
    parse_public,
)
from sekisho.errors import Reason, RefusedError
from tests.simulators.tpm.simulated import EK_HEADS, Maker, SimulatedTpm, sized
from tests.unit.attest.authorities import rsa_key

TPM = SimulatedTpm(Maker())
POINT = TPM._unique(TPM.ek)
EK = EK_HEADS["ecc"] + POINT
HIGH_TPM = SimulatedTpm(Maker(), kind="ecc384")
HIGH_EK = EK_HEADS["ecc384"] + HIGH_TPM._unique(HIGH_TPM.ek)
AK = AK_TEMPLATE[:-68] + POINT
MODULUS = rsa_key().public_key().public_numbers().n


def refusal(area: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        parse_public(area)
    assert raised.value.reason is Reason.EVIDENCE_INVALID
    return raised.value


def rsa_area(*, bits: int = 2048, exponent: int = 0, modulus: bytes | None = None) -> bytes:
    data = MODULUS.to_bytes(256, "big") if modulus is None else modulus
    return EK_HEADS["rsa"][:-6] + struct.pack(">HI", bits, exponent) + sized(data)


def test_the_templates_are_those_of_the_profile_and_as_the_specification_spells_them() -> None:
    assert EK_ECC.template.startswith(EK_HEADS["ecc"])
    assert EK_RSA.template == EK_HEADS["rsa"] + sized(bytes(256))
    assert EK_RSA_3072.template == EK_HEADS["rsa3072"] + sized(b"")
    assert EK_ECC_384.template == EK_HEADS["ecc384"] + sized(b"") * 2
    indices = [kind.certificate_index for kind in EK_KINDS]
    assert indices == [0x01C00002, 0x01C0000A, 0x01C0001C, 0x01C00016]
    assert [kind.by_password for kind in EK_KINDS] == [False, False, True, True]


def test_a_key_is_read_with_the_name_its_tpm_gives_it() -> None:
    key = parse_public(EK)
    assert key.name == b"\x00\x0b" + hashlib.sha256(EK).digest()
    assert (key.attributes, key.policy, key.symmetric_bits) == (0x300B2, EK_POLICY, 128)
    assert isinstance(key.public, ec.EllipticCurvePublicKey)
    attestation = parse_public(AK)
    assert (attestation.attributes, attestation.policy, attestation.symmetric_bits) == (0x50072, b"", 0)


def test_a_key_that_is_named_by_sha384_is_read_with_that_name() -> None:
    key = parse_public(HIGH_EK)
    assert key.name == b"\x00\x0c" + hashlib.sha384(HIGH_EK).digest()
    assert (key.attributes, key.policy, key.symmetric_bits) == (0x300F2, EK_POLICY_384, 256)
    assert key.public == HIGH_TPM.ek.public_key()


@pytest.mark.parametrize(("exponent", "read"), [(0, 65537), (3, 3)])
def test_an_rsa_key_is_read_with_its_exponent(exponent: int, read: int) -> None:
    key = parse_public(rsa_area(exponent=exponent))
    assert isinstance(key.public, rsa.RSAPublicKey)
    assert key.public.public_numbers() == rsa.RSAPublicNumbers(read, MODULUS)


@pytest.mark.parametrize(
    ("area", "told"),
    [
        (EK + bytes(1024), "has 1146 bytes, 1024 are allowed"),
        (EK[:2] + b"\x00\x0d" + EK[4:], "is named by algorithm 0x000d, not by SHA-256 or SHA-384"),
        (b"\x00\x08" + EK[2:], "is of type 0x0008, neither RSA nor ECC"),
        (EK + b"\x00", "goes on for 1 bytes after its end"),
        (EK[:-1], "were expected"),
        (EK.replace(bytes.fromhex("000600800043"), bytes.fromhex("000600c00043")), "by algorithm 0x0006 of 192 bits"),
        (EK.replace(bytes.fromhex("000600800043"), bytes.fromhex("002600800043")), "by algorithm 0x0026 of 128 bits"),
        (EK.replace(bytes.fromhex("001000030010"), bytes.fromhex("001000050010")), "is on curve 0x0005, not on P-256"),
        (HIGH_EK[:-1] + bytes([HIGH_EK[-1] ^ 1]), "names a point that is not on P-384"),
        (EK[:-1] + bytes([EK[-1] ^ 1]), "names a point that is not on P-256"),
        (rsa_area(bits=1024), "has a modulus of 256 bytes and says 1024 bits"),
        (rsa_area(modulus=bytes(256)), "has a modulus of 256 bytes and says 2048 bits"),
        (rsa_area(exponent=2), "holds no RSA key"),
    ],
)
def test_a_public_area_that_is_not_as_it_must_be_is_refused(area: bytes, told: str) -> None:
    assert told in refusal(area).message
    assert refusal(area).message.startswith("the public area of a TPM's key ")


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_keys_of_three_sizes_are_read(bits: int) -> None:
    modulus = (1 << (bits - 1)) + 0x10001
    key = parse_public(rsa_area(bits=bits, modulus=modulus.to_bytes(bits // 8, "big")))
    assert isinstance(key.public, rsa.RSAPublicKey)
    assert key.public.public_numbers().n == modulus


def test_an_rsa_modulus_that_begins_with_zeros_or_is_longer_than_it_says_is_refused() -> None:
    for modulus in (b"\x00" + bytes([0x80]) * 255, b"\x7f" + bytes([0x81]) * 255, bytes([0x81]) * 257):
        assert "has a modulus of" in refusal(rsa_area(modulus=modulus)).message


@pytest.mark.parametrize("pad", [(b"\x00", b""), (b"", b"\x00")])
def test_a_coordinate_that_is_padded_is_refused(pad: tuple[bytes, bytes]) -> None:
    x, y = POINT[2:34], POINT[36:68]
    told = refusal(EK_HEADS["ecc"] + sized(pad[0] + x) + sized(pad[1] + y)).message
    assert "has a field of 33 bytes, 32 are allowed" in told


def test_an_endorsement_key_is_a_restricted_parent_under_the_profiles_policy() -> None:
    check_endorsement_key(parse_public(EK))
    check_endorsement_key(parse_public(rsa_area()))
    check_endorsement_key(parse_public(HIGH_EK))


@pytest.mark.parametrize("bit", [1, 4, 5, 16, 17])
def test_a_key_that_lacks_what_makes_an_endorsement_key_is_refused(bit: int) -> None:
    changed = struct.pack(">I", 0x300B2 ^ (1 << bit))
    with pytest.raises(RefusedError, match="is no restricted decryption key") as raised:
        check_endorsement_key(parse_public(EK[:4] + changed + EK[8:]))
    assert raised.value.reason is Reason.EVIDENCE_UNTRUSTED


def test_an_endorsement_key_that_signs_has_another_policy_or_protects_nothing_is_refused() -> None:
    signing = EK[:4] + struct.pack(">I", 0x300B2 | 1 << 18) + EK[8:]
    other = EK.replace(EK_POLICY, bytes(32))
    bare = EK.replace(bytes.fromhex("000600800043"), bytes.fromhex("0010"))
    weaker = HIGH_EK.replace(bytes.fromhex("000601000043"), bytes.fromhex("000600800043"))
    renamed = EK[:2] + b"\x00\x0c" + EK[4:]
    for area in (signing, other, bare, weaker, renamed):
        with pytest.raises(RefusedError, match="templates L-1, L-2, H-3 or H-6"):
            check_endorsement_key(parse_public(area))


@pytest.mark.parametrize("bit", [1, 4, 5, 16, 17, 18])
def test_a_key_that_may_sign_what_no_tpm_said_is_no_attestation_key(bit: int) -> None:
    check_attestation_key(parse_public(AK))
    with pytest.raises(RefusedError, match="is no restricted signing key") as raised:
        check_attestation_key(parse_public(AK[:4] + struct.pack(">I", 0x50072 ^ (1 << bit)) + AK[8:]))
    assert raised.value.reason is Reason.EVIDENCE_UNTRUSTED


def test_an_attestation_key_is_named_by_sha256() -> None:
    with pytest.raises(RefusedError, match="named by sha384") as raised:
        check_attestation_key(parse_public(AK[:2] + b"\x00\x0c" + AK[4:]))
    assert raised.value.reason is Reason.EVIDENCE_UNTRUSTED


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read_and_nothing_else(data: bytes) -> None:
    try:
        parse_public(data)
    except RefusedError as error:
        assert error.reason is Reason.EVIDENCE_INVALID  # noqa: PT017 - either outcome is right


@given(st.integers(0, len(EK) - 1), st.integers(1, 255))
def test_any_changed_byte_changes_the_name_or_is_refused(at: int, change: int) -> None:
    changed = EK[:at] + bytes([EK[at] ^ change]) + EK[at + 1 :]
    try:
        assert parse_public(changed).name != parse_public(EK).name
    except RefusedError as error:
        assert error.reason is Reason.EVIDENCE_INVALID  # noqa: PT017 - either outcome is right


def test_the_attestation_key_is_of_this_project() -> None:
    assert structures.AK_TEMPLATE[-66:-34] == hashlib.sha256(b"sekisho attestation key v1").digest()
