"""Sources of weights, and the volume that holds them."""

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.render.storage import bound_weights_bytes, parse_storage_uri, render_weights_mount, render_weights_volume

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("uri", "fact"),
    [
        ("ftp://host/file", "it begins with none of oci://, https://, s3:// and pvc://"),
        ("registry/model:1", "it begins with none of oci://"),
        ("oci://-bad-/models/a", "an oci reference begins with a registry's host"),
        ("oci://registry.example", "an oci reference ends with repository and tag or digest"),
        ("oci://registry.example/Models/A", "an oci reference ends with repository and tag or digest"),
        ("oci://registry.example/models/a@sha256:12", "an oci reference ends with repository and tag or digest"),
        ("https://user:word@host/file", "it holds credentials; they belong into a Secret"),
        ("https:///file", "it has no host"),
        ("https://files.example", "it names no file"),
        ("https://files.example/a/../b", 'its path holds an empty part, "." or ".."'),
        ("https://files.example/a//b", 'its path holds an empty part, "." or ".."'),
        ("s3://UPPER/key", "its bucket is not a bucket's name"),
        ("pvc://-claim/path", "it names no claim"),
        ("pvc://claim/pa?th", "a path in a claim holds letters"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_with_the_fact(uri: str, fact: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_storage_uri(uri)
    assert refusal.value.reason is Reason.STORAGE_URI_INVALID
    assert fact in refusal.value.message


def test_a_refusal_never_repeats_credentials() -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_storage_uri("https://user:word@host/file")
    assert "word" not in refusal.value.message
    assert "https://…@host/file" in refusal.value.message


@pytest.mark.parametrize(
    ("uri", "place", "path", "digest"),
    [
        (f"oci://registry.example:5000/models/a@{DIGEST}", "registry.example:5000", f"models/a@{DIGEST}", DIGEST),
        ("oci://registry.example/models/a:1", "registry.example", "models/a:1", None),
        ("https://files.example/models/a.gguf?x=1", "files.example", "models/a.gguf?x=1", None),
        ("s3://bucket", "bucket", "", None),
        ("s3://bucket/models/a/", "bucket", "models/a", None),
        ("pvc://claim/models/a", "claim", "models/a", None),
    ],
)
def test_a_source_is_taken_apart(uri: str, place: str, path: str, digest: str | None) -> None:
    storage = parse_storage_uri(uri)
    assert (storage.place, storage.path, storage.digest) == (place, path, digest)
    assert storage.is_mounted is uri.startswith("pvc")


def test_the_volume_is_bounded_by_the_size_and_never_above_the_maximum() -> None:
    assert bound_weights_bytes(None, 1 << 40) == 1 << 40
    assert bound_weights_bytes(1 << 30, 1 << 40) == (1 << 30) * 105 // 100 + (1 << 24)
    assert bound_weights_bytes(1 << 30, 1 << 20) == 1 << 20


def test_weights_that_may_not_touch_a_disk_are_held_in_memory() -> None:
    storage = parse_storage_uri("s3://bucket/a")
    volume = render_weights_volume(storage, limit_bytes=(1 << 20) + 1, in_memory=True)
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Mi"}
    assert "medium" not in render_weights_volume(storage, limit_bytes=1, in_memory=False)["emptyDir"]


def test_a_claim_is_mounted_read_only_below_its_path() -> None:
    storage = parse_storage_uri("pvc://claim/models/a")
    volume = render_weights_volume(storage, limit_bytes=1, in_memory=False)
    assert volume["persistentVolumeClaim"] == {"claimName": "claim", "readOnly": True}
    mount = render_weights_mount(storage, read_only=False)
    assert (mount["readOnly"], mount["subPath"]) == (True, "models/a")
    assert "subPath" not in render_weights_mount(parse_storage_uri("pvc://claim"), read_only=True)
