"""Signing with a key that stays in a token: the real SoftHSM, refusals first."""

import json
from pathlib import Path
from typing import Any

import pkcs11
import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters

from sekisho.cli.main import cli
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kms.pkcs11 import Pkcs11Keys, Pkcs11Settings
from sekisho.kms.pkcs11_signing import Pkcs11SigningKey
from tests.contract.kms.benches import Hsm, fresh
from tests.unit.cli.parts import build_bench

CURVES = ["secp256r1", "secp384r1"]


def generate(hsm: Hsm, label: str, curve: str, *, public: bool = True) -> None:
    def work(session: Any) -> None:
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}, local=True
        )
        pair = parameters.generate_keypair(store=True, label=label, id=label.encode())
        if not public:
            pair[0].destroy()

    hsm.change(work)


def generate_edwards(hsm: Hsm, label: str) -> None:
    def work(session: Any) -> None:
        parameters = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: b"\x13\x0cedwards25519"}, local=True
        )
        parameters.generate_keypair(
            mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label=label, id=label.encode()
        )

    hsm.change(work)


def token(hsm: Hsm, **change: Any) -> Pkcs11Keys:
    settings = {"module": hsm.module, "token": "sekisho", "pin_file": hsm.pin_file} | change
    return Pkcs11Keys(Pkcs11Settings(**settings))


def test_a_label_that_no_key_has_is_refused(hsm: Hsm) -> None:
    with pytest.raises(RefusedError, match="pkcs11 has no key 'absent'") as caught:
        Pkcs11SigningKey(token(hsm), "absent")
    assert caught.value.reason is Reason.KEY_NOT_FOUND


def test_a_label_that_two_keys_have_is_refused(hsm: Hsm) -> None:
    label = fresh("twice")
    generate(hsm, label, "secp256r1")
    generate(hsm, label, "secp256r1")
    with pytest.raises(UnavailableError, match="2 keys have the label; give each its own"):
        Pkcs11SigningKey(token(hsm), label)


def test_a_key_on_a_curve_that_may_not_sign_is_refused(hsm: Hsm) -> None:
    label = fresh("p521")
    generate(hsm, label, "secp521r1")
    with pytest.raises(RefusedError, match="a key pair for Ed25519 or ECDSA on P-256 or P-384 is needed") as caught:
        Pkcs11SigningKey(token(hsm), label)
    assert caught.value.reason is Reason.KEY_NOT_FOUND


def test_an_rsa_key_is_refused(hsm: Hsm) -> None:
    label = fresh("rsa")
    hsm.change(lambda session: session.generate_keypair(KeyType.RSA, 2048, store=True, label=label))
    with pytest.raises(RefusedError, match="a key pair for Ed25519 or ECDSA on P-256 or P-384 is needed"):
        Pkcs11SigningKey(token(hsm), label)


def test_a_wrong_pin_is_refused_and_not_shown(hsm: Hsm, tmp_path: Path) -> None:
    label, pin = fresh("pin"), tmp_path / "pin"
    generate(hsm, label, "secp256r1")
    pin.write_text("0815-wrong")
    with pytest.raises(RefusedError, match="the token refused the one in the file") as caught:
        Pkcs11SigningKey(token(hsm, pin_file=pin), label)
    assert caught.value.reason is Reason.KEY_DENIED
    assert "0815" not in str(caught.value)


def test_a_private_key_that_was_taken_out_signs_no_more(hsm: Hsm) -> None:
    label = fresh("gone")
    generate(hsm, label, "secp256r1")
    key = Pkcs11SigningKey(token(hsm), label)
    hsm.set(label, None)
    with pytest.raises(RefusedError, match="pkcs11 has no key"):
        key.sign(b"message")


@pytest.mark.parametrize("curve", CURVES)
def test_a_key_in_a_token_signs_as_its_curve_asks(hsm: Hsm, curve: str) -> None:
    label = fresh("sign")
    generate(hsm, label, curve)
    key = Pkcs11SigningKey(token(hsm), label)
    for message in (b"", b"message"):
        assert key.public.verifies(message, key.sign(message))
    assert not key.public.verifies(b"other", key.sign(b"message"))


def test_an_ed25519_key_in_a_token_signs(hsm: Hsm) -> None:
    label = fresh("ed25519")
    generate_edwards(hsm, label)
    key = Pkcs11SigningKey(token(hsm), label)
    assert key.public.verifies(b"message", key.sign(b"message"))


@pytest.mark.slow
def test_the_command_signs_with_a_token(hsm: Hsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label, bench = fresh("release"), build_bench(tmp_path / "bench", big=5000)
    generate(hsm, label, "secp384r1")
    bench.seal()
    for name, value in (("MODULE", hsm.module), ("TOKEN", "sekisho"), ("PIN_FILE", hsm.pin_file)):
        monkeypatch.setenv(f"SEKISHO_PKCS11_{name}", str(value))
    done = CliRunner().invoke(cli, ["sign", str(bench.out), "--pkcs11", label, "--json"])
    assert done.exit_code == 0, done.stderr
    public = Pkcs11SigningKey(token(hsm), label).public
    assert json.loads(done.stdout)["keyId"] == public.key_id
    pem = public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    trust = tmp_path / "trust.yaml"
    trust.write_text(yaml.safe_dump([{"name": "model-release", "publicKeys": [pem]}]))
    done = CliRunner().invoke(cli, ["verify", str(bench.out), "--trust", str(trust), "--json"])
    assert json.loads(done.stdout)["signedBy"] == ["model-release"]
