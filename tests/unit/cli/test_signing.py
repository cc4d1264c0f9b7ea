"""Signing and approving on the command line: refusals first."""

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from sekisho.cli.main import cli
from sekisho.cli.signing import sign_folder, verify_signatures
from sekisho.cli.signing_keys import KeyWish, open_signing_key
from sekisho.seal.statement import parse_signatures
from tests.unit.cli.parts import Bench, build_bench
from tests.unit.seal.signing import certify, curve_key, ed25519_key, key_id_of, pem_of, rsa_key

PASSPHRASE = "correct horse"


def write_key(place: Path, key: Any, passphrase: str = "") -> Path:
    protect = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    place.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protect))
    place.chmod(0o600)
    return place


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = build_bench(tmp_path_factory.mktemp("model"), big=5000)
    bench.seal()
    return bench


@pytest.fixture
def folder(template: Bench) -> Path:
    (template.out / "sekisho.sig.json").unlink(missing_ok=True)
    return template.out


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    return write_key(tmp_path / "owner.pem", ed25519_key("owner"))


def trust_of(place: Path, **signers: Any) -> Path:
    place.write_text(
        yaml.safe_dump({"signers": [{"name": name, "publicKeys": [pem_of(key)]} for name, key in signers.items()]})
    )
    return place


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    place = tmp_path / "trust.yaml"
    signers = {"model-release": ed25519_key("owner"), "model-board": ed25519_key("board")}
    return trust_of(place, **signers)


def call(*words: object, **more: Any) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words], **more)


def succeed(*words: object) -> dict[str, Any]:
    done = call(*words, "--json")
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


def refuse(*words: object, code: int = 3) -> tuple[str, str]:
    done = call(*words, "--json")
    assert done.exit_code == code, (done.exit_code, done.stderr, done.exception)
    assert not done.stdout
    value = json.loads(done.stderr.splitlines()[-1])
    return value["reason"], value["message"]


def test_verifying_without_saying_whom_to_trust_is_refused(folder: Path) -> None:
    reason, message = refuse("verify", folder, code=5)
    assert reason == "SignerNotTrusted"
    assert message.startswith("say whose signatures count: --trust FILE")


def test_an_unsigned_folder_is_refused(folder: Path, trust: Path) -> None:
    assert refuse("verify", folder, "--trust", trust, code=5)[0] == "SignatureMissing"


def test_a_folder_that_a_stranger_signed_is_refused(folder: Path, trust: Path, tmp_path: Path) -> None:
    succeed("sign", folder, "--key", write_key(tmp_path / "k.pem", ed25519_key("stranger")))
    assert refuse("verify", folder, "--trust", trust, code=5)[0] == "SignerNotTrusted"


def test_a_manifest_that_was_changed_after_signing_is_refused(
    template: Bench, owner: Path, trust: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "sekisho.sig.json").unlink(missing_ok=True)
    for name in ("sekisho.json", "sekisho.key.json", "sekisho.table"):
        (copy / name).write_bytes((template.out / name).read_bytes())
    succeed("sign", copy, "--key", owner)
    place = copy / "sekisho.json"
    place.write_bytes(place.read_bytes().replace(b'"version":7', b'"version":9'))
    assert refuse("verify", copy, "--trust", trust, code=5)[0] == "SignatureInvalid"
    reason, message = refuse("sign", copy, "--key", owner, code=5)
    assert reason == "SignatureInvalid"
    assert message.endswith("signs another sekisho.json; remove it, then sign")


def test_what_is_no_sealed_folder_is_not_signed(tmp_path: Path, owner: Path) -> None:
    assert refuse("sign", tmp_path, "--key", owner)[0] == "NotSealed"


def test_no_key_or_two_keys_are_refused(folder: Path, owner: Path) -> None:
    for words in ((), ("--key", owner, "--pkcs11", "label")):
        assert refuse("sign", folder, *words)[1] == "name one key to sign with: --key FILE.pem, or --pkcs11 LABEL"


def test_a_token_that_no_variable_names_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEKISHO_PKCS11_MODULE", raising=False)
    reason, message = refuse("sign", folder, "--pkcs11", "release", code=6)
    assert reason == "KeyNotFound"
    assert "SEKISHO_PKCS11_MODULE" in message


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: b"no key", "is not a private key in PEM"),
        (lambda: pem_of(ed25519_key("owner")).encode(), "is not a private key in PEM"),
        (lambda: b"-" * 70_000, "is larger than 65536 bytes"),
        (
            lambda: rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "cannot sign here; Ed25519, P-256 and P-384 can be used",
        ),
        (
            lambda: curve_key(ec.SECP521R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "cannot sign here; Ed25519, ECDSA P-256 and ECDSA P-384 can be used",
        ),
    ],
    ids=["text", "public", "large", "rsa", "p521"],
)
def test_a_file_that_is_no_key_for_signing_is_refused(
    folder: Path, tmp_path: Path, build: Callable[[], bytes], told: str
) -> None:
    place = tmp_path / "k.pem"
    place.write_bytes(build())
    place.chmod(0o600)
    assert told in refuse("sign", folder, "--key", place)[1]


def test_a_wrong_passphrase_is_refused_and_neither_it_nor_the_key_is_shown(folder: Path, tmp_path: Path) -> None:
    key = write_key(tmp_path / "k.pem", ed25519_key("owner"), PASSPHRASE)
    wrong = tmp_path / "wrong"
    wrong.write_text("incorrect horse\n")
    reason, message = refuse("sign", folder, "--key", key, "--passphrase-file", wrong, code=6)
    assert (reason, message) == ("KeyDenied", f"the passphrase does not open {key}")


def test_an_encrypted_key_is_refused_where_nobody_can_be_asked(folder: Path, tmp_path: Path) -> None:
    key = write_key(tmp_path / "k.pem", ed25519_key("owner"), PASSPHRASE)
    reason, message = refuse("sign", folder, "--key", key, code=6)
    assert reason == "KeyDenied"
    assert message.endswith("is encrypted and nobody can be asked; --passphrase-file")


def test_a_certificate_of_another_key_is_refused(folder: Path, tmp_path: Path, owner: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text(certify("CN=x").pem)
    reason, message = refuse("sign", folder, "--key", owner, "--cert", chain, code=6)
    assert reason == "KeyMismatch"
    assert message.endswith("is of another key; put the signer's own first")


@pytest.mark.parametrize(
    ("text", "told"), [("", "holds no certificates"), (certify("CN=x").pem * 6, "holds 5 certificates")]
)
def test_a_chain_that_cannot_be_used_is_refused(
    folder: Path, tmp_path: Path, owner: Path, text: str, told: str
) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text(text)
    assert told in refuse("sign", folder, "--key", owner, "--cert", chain)[1]


def test_a_key_that_would_not_count_as_the_named_signer_signs_nothing(
    folder: Path, trust: Path, tmp_path: Path
) -> None:
    key = write_key(tmp_path / "k.pem", ed25519_key("board"))
    reason, _ = refuse("sign", folder, "--key", key, "--trust", trust, "--as", "model-release", code=5)
    assert reason == "SignerNotTrusted"
    assert not (folder / "sekisho.sig.json").exists()
    assert (
        'has no signer "nobody"' in refuse("sign", folder, "--key", key, "--trust", trust, "--as", "nobody", code=5)[1]
    )
    assert "--as and --trust go together" in refuse("sign", folder, "--key", key, "--as", "model-board")[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no signers"),
        ("{", "is neither YAML nor JSON"),
        ("x" * 1_100_000, "is larger than 1048576 bytes"),
        ("just text", "names no signers"),
        ("kind: ClassificationPolicy\nspec: {levels: []}", "names no signers"),
        ("signers: {}", "names no signers"),
        ("signers: [text]", "signers[0] is no object"),
        ("[{name: a, keys: []}]", 'signers[0] has the field "keys"; known are name, publicKeys, authorities'),
        ("[{name: 1}]", "signers[0].name is no text"),
        ("[{name: a, publicKeys: [1]}]", "signers[0].publicKeys is no text"),
        ("[{name: a, publicKeys: text}]", "signers[0].publicKeys is no list"),
        ("[{name: a, authorities: [{certificates: [], subjects: []}]}]", "authorities[0] lacks"),
        ("[{name: a, authorities: [{}]}]", "authorities[0].certificates is no list"),
        ("[{name: a}]", 'signer "a" has neither a public key nor an authority'),
        ("[{name: a}, {name: a}]", "two signers have the same name"),
    ],
)  # fmt: skip
def test_a_trust_file_that_trusts_nobody_in_particular_is_refused(
    folder: Path, tmp_path: Path, text: str, told: str
) -> None:
    place = tmp_path / "trust.yaml"
    place.write_text(text)
    reason, message = refuse("verify", folder, "--trust", place)
    assert reason == "PolicyInvalid"
    assert told in message


def test_an_approval_in_a_role_that_the_key_has_not_is_refused(folder: Path, owner: Path, trust: Path) -> None:
    succeed("sign", folder, "--key", owner)
    words = ("approve", folder, "--by", "A. Owner", "--key", owner, "--trust", trust)
    assert refuse(*words, "--role", "model-board", code=5)[0] == "SignerNotTrusted"
    assert refuse(*words, "--role", "nobody", code=5)[0] == "SignerNotTrusted"


def test_a_model_that_nobody_trusted_signed_is_not_approved(folder: Path, trust: Path, tmp_path: Path) -> None:
    key = write_key(tmp_path / "k.pem", ed25519_key("board"))
    words = ("approve", folder, "--by", "B. Chair", "--role", "model-board", "--key", key)
    assert refuse(*words, "--trust", trust, code=5)[0] == "SignatureMissing"


def test_a_passphrase_is_asked_for_where_somebody_can_be_asked(tmp_path: Path) -> None:
    key = write_key(tmp_path / "k.pem", ed25519_key("owner"), PASSPHRASE)
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return PASSPHRASE

    wish = KeyWish(file=key, label=None, chain=None, passphrase_file=None, ask=ask, warn=asked.append)
    opened = open_signing_key(wish)
    assert opened.public.key_id == key_id_of(ed25519_key("owner"))
    assert asked == [f"Passphrase of {key}"]
    assert "secret" not in repr(opened)


def test_a_folder_that_changes_between_the_signature_and_the_bytes_is_refused(
    folder: Path, owner: Path, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed("sign", folder, "--key", owner)
    place = folder / "sekisho.json"
    before = place.read_bytes()

    def swap(*words: Any) -> Any:
        verified = verify_signatures(*words)
        place.write_bytes(before.replace(b'"version":7', b'"version":9'))
        return verified

    monkeypatch.setattr("sekisho.cli.verify_command.verify_signatures", swap)
    try:
        reason, message = refuse("verify", folder, "--trust", trust, code=5)
    finally:
        place.write_bytes(before)
    assert reason == "SignatureInvalid"
    assert message.endswith("changed while it was verified; nothing may write to it")


def test_a_key_that_others_can_read_is_warned_of_and_still_signs(folder: Path, owner: Path) -> None:
    owner.chmod(0o640)
    done = call("sign", folder, "--key", owner)
    assert done.exit_code == 0
    assert done.stderr == f"Warning: {owner} can be read by others and has no passphrase; chmod 600 {owner}\n"
    done = call("sign", folder, "--key", owner, "--json")
    assert json.loads(done.stderr)["event"] == "warning"


def test_a_signed_folder_tells_who_signed_it(folder: Path, owner: Path, trust: Path, tmp_path: Path) -> None:
    done = succeed("sign", folder, "--key", owner, "--trust", trust, "--as", "model-release")
    assert done["keyId"] == key_id_of(ed25519_key("owner"))
    key = write_key(tmp_path / "k.pem", ed25519_key("board"), PASSPHRASE)
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    words = ("sign", folder, "--key", key, "--passphrase-file", tmp_path / "passphrase")
    assert succeed(*words)["signatures"] == 2
    assert succeed(*words)["signatures"] == 2
    done = succeed("verify", folder, "--trust", trust)
    assert done["signedBy"] == ["model-board", "model-release"]
    assert done["checked"] == "every digest"
    text = call("verify", folder, "--trust", trust).stdout
    assert text.endswith("every digest holds; signed by model-board, model-release\n")
    assert "unverified" not in text


def test_inspecting_lists_signatures_and_says_that_they_are_not_verified(folder: Path, owner: Path) -> None:
    assert succeed("inspect", folder)["signatures"] == []
    succeed("sign", folder, "--key", owner)
    facts = succeed("inspect", folder)
    assert facts["signatures"] == [{"keyId": key_id_of(ed25519_key("owner")), "certificates": 0}]
    assert facts["verified"] is False


def test_a_whole_policy_is_taken_as_trust(folder: Path, owner: Path, trust: Path) -> None:
    succeed("sign", folder, "--key", owner)
    value = {"kind": "ClassificationPolicy", "spec": yaml.safe_load(trust.read_text()) | {"levels": []}}
    trust.write_text(json.dumps(value))
    assert succeed("verify", folder, "--trust", trust)["signedBy"] == ["model-release"]
    trust.write_text(json.dumps(value["spec"]["signers"]))
    assert succeed("verify", folder, "--trust", trust)["signedBy"] == ["model-release"]


def test_a_certificate_signs_and_its_root_is_left_at_home(folder: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    root = certify("CN=root", around=now)
    leaf = certify("CN=release,O=Example", root, around=now)
    chain, trust = tmp_path / "chain.pem", tmp_path / "trust.yaml"
    chain.write_text(leaf.pem + root.pem)
    authority = {"certificates": [root.pem], "subjects": ["CN=release,O=Example"]}
    trust.write_text(yaml.safe_dump([{"name": "model-release", "authorities": [authority]}]))
    succeed("sign", folder, "--key", write_key(tmp_path / "k.pem", leaf.key), "--cert", chain)
    assert succeed("verify", folder, "--trust", trust)["signedBy"] == ["model-release"]
    envelope = parse_signatures((folder / "sekisho.sig.json").read_bytes())
    assert envelope.signatures[0].certificates == (leaf.der,)


def test_an_approval_is_printed_as_the_model_takes_it(folder: Path, owner: Path, trust: Path, tmp_path: Path) -> None:
    succeed("sign", folder, "--key", owner)
    key = write_key(tmp_path / "k.pem", ed25519_key("board"))
    words = ("approve", folder, "--role", "model-board", "--by", "B. Chair, 関所", "--key", key, "--trust", trust)
    done = call(*words)
    assert done.exit_code == 0, done.stderr
    (approval,) = yaml.safe_load(done.stdout)["approvals"]
    assert (approval["role"], approval["by"]) == ("model-board", "B. Chair, 関所")
    assert isinstance(approval["at"], str)
    assert "関所" in done.stdout
    facts = succeed(*words)
    assert facts["manifestDigest"] == succeed("inspect", folder)["digest"]
    assert set(facts) == {"role", "by", "at", "signature", "manifestDigest"}


def test_sealing_can_sign_at_once_and_finds_a_bad_key_before_it_begins(
    tmp_path: Path, owner: Path, trust: Path
) -> None:
    bench = build_bench(tmp_path / "bench", big=5000)
    reason, _ = refuse(*bench.seal_words()[:-1], "--sign", trust)
    assert reason == "SealInvalid"
    assert not bench.out.exists()
    assert not bench.out.with_name("model.sealed.partial").exists()
    done = succeed(*bench.seal_words()[:-1], "--sign", owner)
    assert done["signedWith"] == key_id_of(ed25519_key("owner"))
    words = ("verify", bench.out, "--trust", trust, "--kms", bench.kms, "--allow-unsafe-key")
    assert succeed(*words)["checked"] == "every tag"


def test_sealing_that_was_interrupted_while_it_signed_goes_on_and_signs_what_it_writes_then(
    tmp_path: Path, owner: Path, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = build_bench(tmp_path / "bench", big=5000)
    words = (*bench.seal_words()[:-1], "--sign", owner)

    def sign_and_fail(*given: Any) -> None:
        sign_folder(*given)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sekisho.cli.main.sign_folder", sign_and_fail)
        assert refuse(*words, code=9)[0] == "LocalFailure"
    partial = bench.out.with_name("model.sealed.partial")
    assert (partial / "sekisho.sig.json").exists()
    assert not bench.out.exists()
    manifest = partial / "sekisho.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"sealedAt":"2', b'"sealedAt":"1'))
    assert succeed(*words)["kept"] == 3
    assert succeed("verify", bench.out, "--trust", trust)["signedBy"] == ["model-release"]


def test_signatures_are_written_whole_or_not_at_all(folder: Path, owner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("sign", folder, "--key", owner)
    before = (folder / "sekisho.sig.json").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert refuse("sign", folder, "--key", owner, code=9)[0] == "LocalFailure"
    assert (folder / "sekisho.sig.json").read_bytes() == before


def test_a_private_key_file_is_never_made_or_changed(folder: Path, owner: Path) -> None:
    before = (owner.read_bytes(), stat.S_IMODE(owner.stat().st_mode))
    succeed("sign", folder, "--key", owner)
    assert (owner.read_bytes(), stat.S_IMODE(owner.stat().st_mode)) == before
