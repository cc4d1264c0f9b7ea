"""Open the wrapped key of a development model, and no other: what the release does, without its server."""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.kms import failures
from sekisho.kms.unsafe_development import KMS, UnsafeDevelopmentKeys, UnsafeDevelopmentSettings
from sekisho.seal.canonical import parse_canonical
from sekisho.seal.fields import DIGEST, Fields
from sekisho.seal.keys import MAX_KEY_FILE_BYTES, KeyContext, WrappedKey, parse_wrapped
from sekisho.seal.manifest import check_class

MAX_BODY_BYTES: Final = 128 * 1024
_MAX_KEYS: Final = 256
_FIELDS: Final = ("class", "keyFile", "manifestDigest", "model", "version")


@dataclass(frozen=True, slots=True)
class Question:
    """What a pod asks for."""

    wrapped: WrappedKey
    context: KeyContext
    manifest_digest: str


def parse_question(data: bytes) -> Question:
    """Read the body of a question; a key of any other service than the development one ends it here.

    Raises:
        RefusedError: KeyUnsafe for a key of another service; RequestInvalid or SealInvalid for what cannot be read.
    """
    value = parse_canonical(data, name="the question", max_bytes=MAX_BODY_BYTES)
    fields = Fields.of(value, name="the question", known=_FIELDS)
    wrapped = parse_wrapped(_read_key_file(fields))
    if wrapped.kms != KMS:
        raise RefusedError(
            Reason.KEY_UNSAFE,
            f"the key is one of {wrapped.kms}; the unsafe development release opens keys of {KMS} alone and has no way "
            f"to any other: seal the model with a development key, or install the broker",
        )
    context = KeyContext(
        model=fields.text("model", most=255),
        version=fields.integer("version", least=1),
        data_class=check_class(fields.text("class", most=1024), name="the question.class"),
    )
    return Question(wrapped, context, fields.text("manifestDigest", pattern=DIGEST))


def open_key(question: Question, *, keys_dir: Path, minimum_version: int) -> bytes:
    """Return the data key, 32 secret bytes; blocking.

    Raises:
        RefusedError: The key is not here, is disabled or revoked, or was wrapped for another model, version or class.
        UnavailableError: The file of the key cannot be read.
    """
    settings = UnsafeDevelopmentSettings(
        file=_find_file(keys_dir, question.wrapped.key_id), allow_unsafe=True, minimum_version=minimum_version
    )
    return UnsafeDevelopmentKeys(settings).unwrap(question.wrapped, context=question.context)


def list_keys(keys_dir: Path) -> dict[str, Path]:
    """List the development keys of a folder by id; the kubelet's own links in it are passed over."""
    try:
        found = sorted(path for path in keys_dir.iterdir() if not path.name.startswith("."))
    except OSError:
        return {}
    return {path.stem: path for path in found[:_MAX_KEYS]}


def _find_file(keys_dir: Path, key_id: str) -> Path:
    """Find a key by comparing names that are there: nothing that a pod sent becomes part of a path."""
    file = list_keys(keys_dir).get(key_id)
    if file is None:
        raise failures.not_found(KMS, key_id)
    return file


def _read_key_file(fields: Fields) -> bytes:
    text = fields.text("keyFile", most=4 * -(-MAX_KEY_FILE_BYTES // 3))
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise fields.refuse("keyFile", "is not base64") from error
