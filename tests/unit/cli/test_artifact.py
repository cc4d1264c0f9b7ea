from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.cli.artifact import FILEPATH, TITLE, Layer, _read_layers
from sekisho.errors import Reason, RefusedError
from sekisho.seal.facts import KEY_NAME, MANIFEST_NAME, MAX_FILES, MAX_TABLE_BYTES, TABLE_NAME
from tests.unit.fuzz import JSON, attempt

DIGEST = f"sha256:{'0' * 64}"
BLOB = "files/00000.sealed"
NAMES = (MANIFEST_NAME, KEY_NAME, TABLE_NAME, BLOB)


def layer(path: object, *, size: object = 1, digest: object = DIGEST) -> dict[str, Any]:
    return {"size": size, "digest": digest, "annotations": {TITLE: path, FILEPATH: path}}


def manifest(*more: object, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    return {"layers": [*(layer(name) for name in names), *more]}


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        ({}, Reason.NOT_SEALED, "oci://r/m has no list of layers of a sealed model"),
        ({"layers": []}, Reason.NOT_SEALED, "has no list of layers"),
        ({"layers": [{}] * (MAX_FILES + 6)}, Reason.NOT_SEALED, "has no list of layers"),
        (manifest(7), Reason.NOT_SEALED, "holds 'None', which is no part of a sealed model"),
        (manifest(layer("model.safetensors")), Reason.NOT_SEALED, "holds 'model.safetensors', which is no part"),
        (manifest(layer("files/../../etc/passwd")), Reason.NOT_SEALED, "which is no part of a sealed model"),
        (manifest(layer("files/00001.sealed\n")), Reason.NOT_SEALED, "which is no part of a sealed model"),
        (manifest(layer(BLOB)), Reason.SOURCE_INVALID, "oci://r/m names a file twice"),
        (manifest(names=(MANIFEST_NAME, TABLE_NAME)), Reason.NOT_SEALED, "it lacks sekisho.json or its companions"),
        (manifest(layer("files/00001.sealed", size=-1)), Reason.SOURCE_INVALID, "has no sha256 digest and size"),
        (manifest(layer("files/00001.sealed", size=True)), Reason.SOURCE_INVALID, "has no sha256 digest and size"),
        (manifest(layer("files/00001.sealed", digest="md5:0")), Reason.SOURCE_INVALID, "has no sha256 digest and size"),
        (
            {"layers": [layer(TABLE_NAME, size=MAX_TABLE_BYTES + 1)]},
            Reason.SIZE_EXCEEDED,
            "sekisho.table of oci://r/m has 67108865 bytes, 67108864 are allowed",
        ),
    ],
)
def test_an_artifact_that_is_no_sealed_model_is_refused(value: Any, reason: Reason, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        _read_layers(value, "oci://r/m")
    assert caught.value.reason is reason
    assert message in caught.value.message


def test_the_files_of_a_sealed_model_are_read_in_their_order() -> None:
    assert _read_layers(manifest(), "oci://r/m") == tuple(Layer(name, 1, DIGEST) for name in NAMES)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.sampled_from(["layers", "size", "digest", "annotations", TITLE]), JSON)
def test_any_value_in_any_field_of_an_artifact_is_read_or_refused(field: str, value: object) -> None:
    found = layer("files/00001.sealed")
    if field == TITLE:
        found["annotations"][TITLE] = value
    else:
        found[field] = value
    layers = attempt(lambda: _read_layers({"layers": value} if field == "layers" else manifest(found), "oci://r/m"))
    if isinstance(layers, RefusedError):
        assert layers.reason in {Reason.NOT_SEALED, Reason.SOURCE_INVALID, Reason.SIZE_EXCEEDED}
    else:
        assert isinstance(layers, tuple)
        assert {item.path for item in layers} == {*NAMES, "files/00001.sealed"}
