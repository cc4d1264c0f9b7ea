from dataclasses import replace

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.seal.manifest import BlobFacts, digest_of
from sekisho.seal.openssl import OpenSsl, describe_openssl, is_bundled, warn_of_openssl
from sekisho.seal.verify import check_blob, check_listing, check_version
from tests.unit.seal.sealing import seal

MANIFEST = seal().manifest
LISTING = {path: len(data) for path, data in seal().blobs.items()}


def test_a_blob_of_another_size_or_digest_is_refused() -> None:
    facts = BlobFacts(3, digest_of(b"abc"))
    with pytest.raises(RefusedError, match=r'"bom.cdx.json" has 2 bytes, the manifest says 3') as caught:
        check_blob(b"ab", facts, name="bom.cdx.json")
    assert caught.value.reason is Reason.SEAL_BROKEN
    with pytest.raises(RefusedError, match=r"has 3 bytes and digest sha256:.*, the manifest says 3 bytes and sha256:"):
        check_blob(b"abd", facts, name="bom.cdx.json")
    check_blob(b"abc", facts, name="bom.cdx.json")


def test_a_listing_without_the_manifest_itself_is_refused() -> None:
    listing = {path: size for path, size in LISTING.items() if path != "sekisho.json"}
    with pytest.raises(RefusedError, match=r'missing: "sekisho.json"') as caught:
        check_listing(MANIFEST, listing)
    assert caught.value.reason is Reason.SEAL_BROKEN


def test_a_bill_of_materials_that_the_manifest_names_must_be_there() -> None:
    manifest = replace(MANIFEST, bom=BlobFacts(3, digest_of(b"abc")))
    with pytest.raises(RefusedError, match=r'missing: "bom.cdx.json"'):
        check_listing(manifest, LISTING)
    check_listing(manifest, LISTING | {"bom.cdx.json": 3})


def test_key_and_signatures_may_stand_beside_the_manifest() -> None:
    check_listing(MANIFEST, LISTING | {"sekisho.key.json": 10, "sekisho.sig.json": 10})


@pytest.mark.parametrize("accepted", [0, 6, 7])
def test_a_version_as_high_as_the_last_one_is_accepted(accepted: int) -> None:
    check_version(MANIFEST, accepted)


@pytest.mark.parametrize(
    "wheel", [None, "", "Tag: cp311-abi3-linux_x86_64\n", "Generator: manylinux\nTag: py3-none-any"]
)
def test_a_cryptography_of_the_system_is_told_with_what_to_do(wheel: str | None) -> None:
    assert not is_bundled(wheel)
    text = warn_of_openssl(OpenSsl("OpenSSL 3.0.17", bundled=is_bundled(wheel)))
    assert "uses OpenSSL 3.0.17 of the system" in text
    assert "pip install --only-binary" in text


def test_a_cryptography_without_any_record_is_one_of_the_system() -> None:
    assert not describe_openssl("sekisho-no-such-package").bundled


def test_the_wheel_of_the_project_brings_its_own_openssl() -> None:
    assert is_bundled("Wheel-Version: 1.0\nTag: cp311-abi3-manylinux_2_34_x86_64\n")
    found = describe_openssl()
    assert found.version.startswith("OpenSSL ")
    assert warn_of_openssl(replace(found, bundled=True)) == ""
