"""Resources that guests of Confidential Containers ask for by name: each stands for a wrapped key, or what it seals.

They lie in a folder, one JSON document a resource; nothing in them is secret, for the key service opens what is wrapped
in them only to the broker, and the broker only where owner and tenant grant it. A resource that is asked for is a
question like any other.
"""

import base64
import binascii
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekisho.broker.wire import Question, parse_question
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.seal.resource import MAX_CONTENT_BYTES, digest_content, parse_resource_uri

MAX_RESOURCES: Final = 1024
MAX_DOCUMENT_BYTES: Final = 128 * 1024
_READ_SECONDS: Final = 10.0
_WANTED: Final = {"uri", "question"}
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resource:
    """What a name stands for.

    Attributes:
        question: Whose key it is; what owner and tenant grant is granted for it.
        content: What is sealed under the key, and released in its place; empty where the key itself is the resource.
    """

    question: Question
    content: bytes = b""


class Resources:
    """The folder's documents; mounted folders change under the process, so it is read anew now and then.

    Args:
        folder: Of `*.json`, each {"uri": "kbs:///repository/type/tag", "question": {class, keyFile, manifestDigest,
            model, version}} and, for a secret, "content"; a folder that does not exist has none.
        clock: Monotonic seconds.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._read_at = -math.inf
        self._known: Mapping[str, Resource | None] = {}

    def find(self, path: str) -> Resource:
        """Return what a resource stands for; blocks while the folder is read.

        Raises:
            RefusedError: EndpointUnknown; there is no such resource, or more than one document speaks of it.
        """
        if self._clock() - self._read_at > _READ_SECONDS:
            self._known, self._read_at = self._read(), self._clock()
        found = self._known.get(path)
        if found is None:
            why = "more than one document speaks" if path in self._known else "no document speaks"
            raise RefusedError(Reason.ENDPOINT_UNKNOWN, f"{why} of resource {path}")
        return found

    def _read(self) -> dict[str, Resource | None]:
        """Read all documents; what cannot be read is logged and left out, what stands twice is nobody's."""
        result: dict[str, Resource | None] = {}
        for file in sorted(self._folder.glob("*.json"))[:MAX_RESOURCES]:
            try:
                path, resource = parse_document(_read_bounded(file))
            except (OSError, SekishoError) as error:
                _LOG.error("a resource cannot be read", extra={"file": file.name, "detail": str(error)[:512]})
                continue
            result[path] = None if path in result else resource
        return result


def _read_bounded(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_DOCUMENT_BYTES + 1)


def parse_document(data: bytes) -> tuple[str, Resource]:
    """Read one document: the path of a resource, and what it stands for.

    The digest of sealed content stands where a model has that of its manifest: who grants one grants no other content.

    Raises:
        RefusedError: RequestInvalid, SealInvalid or EndpointUnknown, naming what is not as it must be.
    """
    value = _parse(data)
    if not _WANTED <= set(value) <= _WANTED | {"content"} or not isinstance(value["uri"], str):
        raise _invalid("it is not an object of uri and question, and content where it is a secret")
    path, question = parse_resource_uri(value["uri"]), parse_question(value["question"])
    if "content" not in value:
        return path, Resource(question)
    content = _decode(value["content"])
    if digest_content(content) != question.manifest_digest:
        raise _invalid(f"its content has the digest {digest_content(content)}, not {question.manifest_digest}")
    return path, Resource(question, content)


def _decode(value: Any) -> bytes:
    try:
        content = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        raise _invalid("its content is not base64") from error
    if not 0 < len(content) <= MAX_CONTENT_BYTES:
        raise _invalid(f"its content is not base64 of 1 to {MAX_CONTENT_BYTES} bytes")
    return content


def _parse(data: bytes) -> Mapping[str, Any]:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _invalid(f"it has more than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    return value if isinstance(value, dict) else {}


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, f"the document of a resource cannot be used: {what}")
