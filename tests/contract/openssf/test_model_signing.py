"""Both ways with the real library `model-signing`: what it signed we check, what we signed it checks."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sekisho.cli.main import cli
from tests.unit.cli.parts import Bench, build_bench
from tests.unit.seal.signing import certify, curve_key, ed25519_key, pem_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library and what it imports
NOW = datetime.now(UTC)
SUBJECT = "CN=release,O=Example"


@pytest.fixture(scope="module")
def library() -> Any:
    import model_signing  # noqa: PLC0415 -- it takes seconds

    return model_signing


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = build_bench(tmp_path_factory.mktemp("model"), big=100_000)
    (bench.model / ".gitattributes").write_text("*.safetensors filter=lfs")
    (bench.model / "sub-x").write_text("sorts otherwise by parts and by text")
    bench.seal()
    return bench


class House:
    """Keys, certificates and files of one signer."""

    def __init__(self, folder: Path, curve: Any = None, **leaf: Any) -> None:
        folder.mkdir()
        self.root = certify("CN=root", around=NOW)
        self.between = certify("CN=between", self.root, ca=True, path_length=0, around=NOW)
        self.leaf = certify(SUBJECT, self.between, key=curve_key(curve), around=NOW, **leaf)
        self.key = self._write(folder / "key.pem", self._pem(self.leaf.key))
        self.public = self._write(folder / "key.pub", pem_of(self.leaf.key))
        self.certificate = self._write(folder / "leaf.pem", self.leaf.pem)
        self.others = self._write(folder / "between.pem", self.between.pem)
        self.chain = self._write(folder / "chain.pem", self.leaf.pem + self.between.pem)
        self.anchor = self._write(folder / "root.pem", self.root.pem)
        authority = {"certificates": [self.root.pem], "subjects": [SUBJECT]}
        self.trust_key = self._trust(folder / "keys.yaml", publicKeys=[pem_of(self.leaf.key)])
        self.trust_root = self._trust(folder / "roots.yaml", authorities=[authority])

    @staticmethod
    def _pem(key: Any) -> str:
        return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    @staticmethod
    def _write(place: Path, text: str) -> Path:
        place.write_text(text)
        place.chmod(0o600)
        return place

    def _trust(self, place: Path, **signer: Any) -> Path:
        return self._write(place, yaml.safe_dump([{"name": "model-release", **signer}]))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house")


def call(*words: object) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, [*map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout if done.exit_code == 0 else done.stderr.splitlines()[-1])


def library_signs(library: Any, model: Path, house: House, *, certificate: bool) -> Path:
    config = library.signing.Config()
    if certificate:
        config.use_certificate_signer(
            private_key=house.key, signing_certificate=house.certificate, certificate_chain=[house.others]
        )
    else:
        config.use_elliptic_key_signer(private_key=house.key)
    place = house.key.parent / "theirs.sig"
    config.sign(model, place)
    return place


def verify(sealed: Bench, signature: Path, trust: Path) -> tuple[int, dict[str, Any]]:
    return call("verify", sealed.out, "--unsafe-skip-signatures", "--trust", trust, "--openssf", signature)


def library_verifies(library: Any, model: Path, signature: Path, house: House, *, certificate: bool) -> None:
    config = library.verifying.Config()
    if certificate:
        config.use_certificate_verifier(certificate_chain=[house.anchor])
    else:
        config.use_elliptic_key_verifier(public_key=house.public)
    config.verify(model, signature)


# their signature, our check


@pytest.mark.parametrize("certificate", [False, True])
def test_theirs_over_a_changed_file_is_refused(sealed: Bench, house: House, library: Any, certificate: bool) -> None:
    other = build_bench(house.key.parent / "other", big=100_000).model
    code, told = verify(sealed, library_signs(library, other, house, certificate=certificate), house.trust_key)
    assert (code, told["reason"]) == (5, "SignatureInvalid")
    assert "files of the model are" in told["message"]


def test_theirs_over_fewer_files_is_refused(sealed: Bench, house: House, library: Any, tmp_path: Path) -> None:
    config = library.signing.Config().use_elliptic_key_signer(private_key=house.key)
    config.set_hashing_config(library.hashing.Config().set_ignored_paths(paths=["config.json"]))
    config.sign(sealed.model, tmp_path / "theirs.sig")
    code, told = verify(sealed, tmp_path / "theirs.sig", house.trust_key)
    assert (code, told["reason"]) == (5, "SignatureInvalid")
    assert '1 files of the model are not named: "config.json"' in told["message"]


def test_theirs_by_another_key_is_refused(sealed: Bench, house: House, library: Any, tmp_path: Path) -> None:
    signature = library_signs(library, sealed.model, House(tmp_path / "stranger"), certificate=False)
    code, told = verify(sealed, signature, house.trust_key)
    assert (code, told["reason"]) == (5, "SignerNotTrusted")


def test_theirs_from_another_root_of_the_same_name_is_refused(
    sealed: Bench, house: House, library: Any, tmp_path: Path
) -> None:
    signature = library_signs(library, sealed.model, House(tmp_path / "stranger"), certificate=True)
    code, told = verify(sealed, signature, house.trust_root)
    assert (code, told["reason"]) == (5, "SignerNotTrusted")
    assert "leads to no root of the policy" in told["message"]


def test_theirs_by_an_expired_certificate_is_refused_though_they_accept_it(
    sealed: Bench, library: Any, tmp_path: Path
) -> None:
    house = House(tmp_path / "late", days=(-9, -1))
    signature = library_signs(library, sealed.model, house, certificate=True)
    code, told = verify(sealed, signature, house.trust_root)
    assert (code, told["reason"]) == (5, "SignerNotTrusted")
    assert "is valid from" in told["message"]


@pytest.mark.parametrize("way", ["shards", "blake2"])
def test_theirs_by_digests_that_no_manifest_has_is_refused(
    sealed: Bench, house: House, library: Any, tmp_path: Path, way: str
) -> None:
    hashing = library.hashing.Config()
    if way == "shards":
        hashing.use_shard_serialization()
    else:
        hashing.use_file_serialization(hashing_algorithm="blake2")
    config = library.signing.Config().use_elliptic_key_signer(private_key=house.key).set_hashing_config(hashing)
    config.sign(sealed.model, tmp_path / "theirs.sig")
    code, told = verify(sealed, tmp_path / "theirs.sig", house.trust_key)
    assert (code, told["reason"]) == (5, "SignatureInvalid")
    assert "sign with whole files and sha256, the default of model_signing" in told["message"]


def test_sealing_what_they_did_not_sign_is_refused_before_anything_appears(
    sealed: Bench, house: House, library: Any, tmp_path: Path
) -> None:
    signature = library_signs(library, sealed.model, house, certificate=False)
    bench = build_bench(tmp_path / "other", big=100_000)
    words = [word for word in bench.seal_words() if word != "--json"]
    code, told = call(*words, "--openssf", signature)
    assert (code, told["reason"]) == (5, "SignerNotTrusted")
    assert told["message"] == "say whose signature on --openssf counts: --trust FILE"
    code, told = call(*words, "--openssf", signature, "--trust", house.trust_key)
    assert (code, told["reason"]) == (5, "SignatureInvalid")
    assert not bench.out.exists()


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_theirs_by_key_and_by_certificate_hold(sealed: Bench, library: Any, tmp_path: Path, curve: Any) -> None:
    house = House(tmp_path / "house", curve)
    for certificate, trust in ((False, house.trust_key), (True, house.trust_root)):
        code, told = verify(sealed, library_signs(library, sealed.model, house, certificate=certificate), trust)
        assert (code, told.get("openssfSignedBy")) == (0, ["model-release"]), told


def test_what_they_signed_inside_the_folder_is_sealed_with_its_signature(
    house: House, library: Any, tmp_path: Path
) -> None:
    bench = build_bench(tmp_path / "bench", big=100_000)
    place = bench.model / "model.sig"
    config = library.signing.Config().use_elliptic_key_signer(private_key=house.key)
    config.set_hashing_config(library.hashing.Config().set_ignored_paths(paths=["model.sig"]))
    config.sign(bench.model, place)
    words = [word for word in bench.seal_words() if word != "--json"]
    code, told = call(*words, "--openssf", place, "--trust", house.trust_key)
    assert (code, told.get("files")) == (0, 4), told


# our signature, their check


@pytest.mark.slow
@pytest.mark.parametrize("certificate", [False, True])
def test_they_refuse_ours_where_the_folder_was_changed(
    house: House, library: Any, tmp_path: Path, certificate: bool
) -> None:
    bench = build_bench(tmp_path / "bench", big=100_000)
    bench.seal()
    ours = tmp_path / "ours.sig"
    words = ("--cert", house.chain) if certificate else ()
    assert call("sign", bench.out, "--key", house.key, *words, "--openssf", ours)[0] == 0
    (bench.model / "extra").write_text("")
    with pytest.raises(ValueError, match="Extra files found"):
        library_verifies(library, bench.model, ours, house, certificate=certificate)
    (bench.model / "extra").unlink()
    (bench.model / "config.json").write_text("{ }")
    with pytest.raises(ValueError, match=r"Hash mismatch for 'config.json'"):
        library_verifies(library, bench.model, ours, house, certificate=certificate)
    (bench.model / "config.json").unlink()
    with pytest.raises(ValueError, match="Missing files"):
        library_verifies(library, bench.model, ours, house, certificate=certificate)


def test_they_refuse_ours_by_another_key_and_another_root(
    sealed: Bench, house: House, library: Any, tmp_path: Path
) -> None:
    stranger, ours = House(tmp_path / "stranger"), tmp_path / "ours.sig"
    assert call("sign", sealed.out, "--key", stranger.key, "--openssf", ours)[0] == 0
    with pytest.raises(ValueError, match="Key mismatch"):
        library_verifies(library, sealed.model, ours, house, certificate=False)
    assert call("sign", sealed.out, "--key", stranger.key, "--cert", stranger.chain, "--openssf", ours)[0] == 0
    with pytest.raises(Exception, match=r"certificate|issuer|self"):
        library_verifies(library, sealed.model, ours, house, certificate=True)


def test_a_key_that_they_do_not_know_signs_nothing_for_them(sealed: Bench, tmp_path: Path) -> None:
    key = tmp_path / "ed25519.pem"
    key.write_bytes(ed25519_key("owner").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    code, told = call("sign", sealed.out, "--key", key, "--openssf", tmp_path / "ours.sig")
    assert (code, told["reason"]) == (6, "KeyMismatch")
    assert "knows keys on P-256 and P-384 only" in told["message"]
    assert not (tmp_path / "ours.sig").exists()


def test_their_format_is_not_written_into_the_sealed_folder(sealed: Bench, house: House) -> None:
    code, told = call("sign", sealed.out, "--key", house.key, "--openssf", sealed.out / "model.sig")
    assert code == 3
    assert "which may hold nothing else; name a file elsewhere" in told["message"]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_they_accept_ours_by_key_and_by_certificate(sealed: Bench, library: Any, tmp_path: Path, curve: Any) -> None:
    house, ours = House(tmp_path / "house", curve), tmp_path / "ours.sig"
    assert call("sign", sealed.out, "--key", house.key, "--openssf", ours)[0] == 0
    library_verifies(library, sealed.model, ours, house, certificate=False)
    assert call("sign", sealed.out, "--key", house.key, "--cert", house.chain, "--openssf", ours)[0] == 0
    library_verifies(library, sealed.model, ours, house, certificate=True)
    assert verify(sealed, ours, house.trust_root)[0] == 0
