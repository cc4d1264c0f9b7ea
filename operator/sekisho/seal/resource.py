"""A secret as a resource of a key broker: its name, and its content sealed under a data key of its own.

Layout: a nonce of 12 bytes, then AES-256-GCM over the secret, tag last. The key is derived from the data key, and the
associated data is the resource's path: sealed content says nothing under another name. Its digest takes the place of a
manifest's in whatever is asked and granted.
"""

import hashlib
import re
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sekisho.errors import Reason, RefusedError
from sekisho.seal.facts import KEY_BYTES, TAG_BYTES
from sekisho.seal.keys import derive

SCHEME: Final = "kbs://"
NONCE_BYTES: Final = 12
MAX_SECRET_BYTES: Final = 32 * 1024
MAX_CONTENT_BYTES: Final = NONCE_BYTES + MAX_SECRET_BYTES + TAG_BYTES
_INFO: Final = b"sekisho-resource-v1"
_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def seal_resource(secret: bytes, data_key: bytes, *, path: str, nonce: bytes) -> bytes:
    """Seal a secret of at most 32 KiB for one path.

    Args:
        secret: What a guest shall get.
        data_key: 32 bytes, made for this content alone.
        path: As :func:`parse_resource_path` read it.
        nonce: 12 random bytes.

    Raises:
        RefusedError: SealInvalid; there is nothing to seal, or too much.
    """
    if not 0 < len(secret) <= MAX_SECRET_BYTES:
        raise _invalid(path, f"has {len(secret)} bytes, 1 to {MAX_SECRET_BYTES} are allowed")
    return nonce + _open_cipher(data_key).encrypt(nonce, secret, path.encode())


def open_resource(content: bytes, data_key: bytes, *, path: str) -> bytes:
    """Open sealed content under the path that it was sealed for.

    Raises:
        RefusedError: SealInvalid; it was changed, cut, sealed for another path or under another key.
    """
    if not NONCE_BYTES + TAG_BYTES < len(content) <= MAX_CONTENT_BYTES:
        raise _invalid(path, f"has {len(content)} sealed bytes, at most {MAX_CONTENT_BYTES} are allowed")
    try:
        return _open_cipher(data_key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], path.encode())
    except InvalidTag as error:
        raise _invalid(path, "was changed, or sealed for another path or under another key") from error


def digest_content(content: bytes) -> str:
    """Return "sha256:…" of sealed content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _open_cipher(data_key: bytes) -> AESGCM:
    return AESGCM(derive(data_key, salt=b"", info=_INFO, length=KEY_BYTES))


def parse_resource_path(path: str) -> str:
    """Read "repository/type/tag".

    Raises:
        RefusedError: EndpointUnknown; not three names.
    """
    segments = path.split("/")
    if len(segments) != 3 or not all(_SEGMENT.fullmatch(each) for each in segments):
        raise RefusedError(Reason.ENDPOINT_UNKNOWN, "a resource is named by repository/type/tag")
    return path


def parse_resource_uri(uri: str) -> str:
    """Read "kbs:///repository/type/tag", as key ids of Confidential Containers are spelt, and return its path.

    The host may be left out, as is usual, or be there: it names a broker, and this is the one that was asked.

    Raises:
        RefusedError: EndpointUnknown; not such an address.
    """
    _, scheme, rest = uri.partition(SCHEME)
    host, slash, path = rest.partition("/")
    if not uri.startswith(SCHEME) or not scheme or not slash or len(host) > 253:
        raise RefusedError(Reason.ENDPOINT_UNKNOWN, "a key id of a key broker is kbs:///repository/type/tag")
    return parse_resource_path(path)


def _invalid(path: str, what: str) -> RefusedError:
    return RefusedError(Reason.SEAL_INVALID, f"the content of resource {path} {what}")
