"""A credential opens in one TPM, for one key, unchanged, and not otherwise."""

import functools
import secrets

import pytest
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.tpm2 import commands
from sekisho.attest.tpm2.credential import Credential, encrypt_cfb, kdf_a, kdf_e, make_credential
from sekisho.attest.tpm2.structures import AK_TEMPLATE, EK_KINDS, TpmKey, parse_public
from sekisho.attest.tpm2.wire import PASSWORD
from sekisho.errors import Reason, RefusedError
from tests.simulators.tpm.simulated import Maker, SimulatedTpm

MAKER = Maker()
ECC_TPM = SimulatedTpm(MAKER, kind="ecc")
KINDS = dict(zip(("rsa", "ecc", "rsa3072", "ecc384"), EK_KINDS, strict=True))
SECRET = bytes(range(32))


@functools.cache
def tpm_of(kind: str) -> SimulatedTpm:
    """Return the one TPM of its kind, made for the first test that uses it: RSA keys take their time."""
    return ECC_TPM if kind == "ecc" else SimulatedTpm(MAKER, kind=kind)


def load(tpm: SimulatedTpm, template: bytes) -> commands.LoadedKey:
    return commands.parse_created(tpm.execute(commands.build_create_primary(template)))


def keys_of(tpm: SimulatedTpm) -> tuple[commands.LoadedKey, commands.LoadedKey]:
    tpm.loaded.clear()
    return load(tpm, KINDS[tpm.kind].template), load(tpm, AK_TEMPLATE)


def make(endorsement: TpmKey, name: bytes) -> Credential:
    return make_credential(endorsement, name, SECRET, entropy=secrets.token_bytes(48))


def open_by(tpm: SimulatedTpm, endorsement: int, attestation: int, credential: Credential) -> bytes:
    session = PASSWORD
    if not KINDS[tpm.kind].by_password:
        session = commands.parse_session(tpm.execute(commands.build_start_policy(bytes(32))))
        tpm.execute(commands.build_policy_secret(session))
    command = commands.build_activate(attestation, endorsement, session, blob=credential.blob, secret=credential.secret)
    return commands.parse_activated(tpm.execute(command))


@pytest.mark.parametrize("kind", KINDS)
def test_the_tpm_that_holds_both_keys_opens_it(kind: str) -> None:
    tpm = tpm_of(kind)
    endorsement, attestation = keys_of(tpm)
    credential = make(parse_public(endorsement.public), attestation.name)
    assert open_by(tpm, endorsement.handle, attestation.handle, credential) == SECRET
    assert SECRET not in credential.blob + credential.secret


def test_a_credential_for_another_key_of_the_same_tpm_does_not_open() -> None:
    endorsement, _ = keys_of(ECC_TPM)
    other = load(ECC_TPM, AK_TEMPLATE[:-66] + bytes(32) + AK_TEMPLATE[-34:])
    credential = make(parse_public(endorsement.public), keys_of(ECC_TPM)[1].name)
    endorsement, _ = keys_of(ECC_TPM)
    other = load(ECC_TPM, AK_TEMPLATE[:-66] + bytes(32) + AK_TEMPLATE[-34:])
    with pytest.raises(RefusedError, match="the credential was made for another key") as raised:
        open_by(ECC_TPM, endorsement.handle, other.handle, credential)
    assert raised.value.reason is Reason.EVIDENCE_MISSING


def test_a_credential_for_another_tpm_does_not_open() -> None:
    stranger = SimulatedTpm(MAKER)
    endorsement, _ = keys_of(stranger)
    _, attestation = keys_of(ECC_TPM)
    mine, attestation = keys_of(ECC_TPM)
    credential = make(parse_public(endorsement.public), attestation.name)
    with pytest.raises(RefusedError, match="the credential was made for another key"):
        open_by(ECC_TPM, mine.handle, attestation.handle, credential)


@pytest.mark.parametrize("kind", ["ecc", "ecc384"])
@settings(max_examples=25)
@given(data=st.data())
def test_a_credential_with_any_byte_changed_does_not_open(kind: str, data: st.DataObject) -> None:
    tpm = tpm_of(kind)
    endorsement, attestation = keys_of(tpm)
    credential = make(parse_public(endorsement.public), attestation.name)
    blob = bytearray(credential.blob)
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedError):
        open_by(tpm, endorsement.handle, attestation.handle, Credential(bytes(blob), credential.secret))


def test_nothing_is_wrapped_for_a_key_that_endorses_nothing() -> None:
    _, attestation = keys_of(ECC_TPM)
    with pytest.raises(RefusedError, match="is no restricted decryption key") as raised:
        make(parse_public(attestation.public), attestation.name)
    assert raised.value.reason is Reason.EVIDENCE_UNTRUSTED


@pytest.mark.parametrize(("secret", "entropy"), [(bytes(31), bytes(48)), (bytes(32), bytes(47))])
def test_lengths_are_fixed(secret: bytes, entropy: bytes) -> None:
    endorsement, attestation = keys_of(ECC_TPM)
    with pytest.raises(ValueError, match="takes 32 bytes of secret and 48 of entropy"):
        make_credential(parse_public(endorsement.public), attestation.name, secret, entropy=entropy)


@pytest.mark.filterwarnings("ignore")
@given(st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32), st.binary(max_size=70))
def test_cfb_is_that_of_the_library(key: bytes, data: bytes) -> None:
    encryptor = Cipher(algorithms.AES(key), CFB(bytes(16))).encryptor()
    assert encrypt_cfb(key, data) == encryptor.update(data) + encryptor.finalize()


def test_derivations_depend_on_every_part() -> None:
    base = kdf_a(b"k" * 32, b"STORAGE", b"one", bits=128)
    assert len(base) == 16
    others = [
        kdf_a(b"x" * 32, b"STORAGE", b"one", bits=128),
        kdf_a(b"k" * 32, b"INTEGRITY", b"one", bits=128),
        kdf_a(b"k" * 32, b"STORAGE", b"One", bits=128),
        kdf_a(b"k" * 32, b"STORAGE", bits=128),
        kdf_a(b"k" * 32, b"STORAGE", b"one", bits=256)[:16],
        kdf_a(b"k" * 32, b"STORAGE", b"one", bits=128, by="sha384"),
    ]
    assert base not in others
    assert len(kdf_e(b"z", b"a", b"b", by="sha384")) == 48
    assert (
        len({kdf_e(b"z", b"a", b"b"), kdf_e(b"y", b"a", b"b"), kdf_e(b"z", b"b", b"b"), kdf_e(b"z", b"a", b"a")}) == 4
    )
