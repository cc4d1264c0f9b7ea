"""Ask for the data key of a sealed model: the one seam behind which the release of keys can change."""

import base64
import binascii
import http.client
import json
from dataclasses import dataclass
from typing import Final, Protocol

from sekisho.agent.transport import ServerAccess, read_failure, request
from sekisho.attest.unsealing import REPORTABLE
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.seal.canonical import encode_canonical, parse_canonical
from sekisho.seal.facts import KEY_BYTES
from sekisho.seal.fields import Fields
from sekisho.seal.keys import MAX_KEY_FILE_BYTES

MAX_ANSWER_BYTES: Final = 16 * 1024
MAX_QUESTION_BYTES: Final = 128 * 1024
TOTAL_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Which key is asked for: the wrapped one, and what it must have been wrapped for. Nothing in it is secret."""

    key_file: bytes
    manifest_digest: str
    model: str
    version: int
    data_class: str

    def encode(self) -> bytes:
        """Spell the body of the question."""
        return encode_canonical(
            {
                "class": self.data_class,
                "keyFile": base64.b64encode(self.key_file).decode(),
                "manifestDigest": self.manifest_digest,
                "model": self.model,
                "version": self.version,
            }
        )


class KeySource(Protocol):
    """Something that releases data keys to this pod."""

    def ask(self, wanted: KeyRequest) -> bytearray:
        """Return the 32 secret bytes; the caller wipes them.

        Raises:
            RefusedError: The key is not released to this pod; asking again soon helps nothing.
            UnavailableError: There was no usable answer within a bounded time.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReleasedKeys:
    """Keys released over HTTPS to the bearer of the pod's own token."""

    access: ServerAccess

    def ask(self, wanted: KeyRequest) -> bytearray:
        """Ask at `POST /v1/release` (see the Protocol)."""
        try:
            with request(self.access, "POST", "/v1/release", body=wanted.encode()) as response:
                if response.status != 200:
                    raise read_failure(response, self.access)
                return _read_key(response)
        except UnavailableError as error:
            raise UnavailableError(Reason.KMS_UNAVAILABLE, f"{error.message}; {self._next_step()}") from error
        except RefusedError as error:
            raise convert_refusal(error, who="the release of keys") from error

    def _next_step(self) -> str:
        service, _, namespace = self.access.address.server_name.removesuffix(".svc").partition(".")
        return f"see whether the pods behind Service {service} in namespace {namespace} run and what they log"


@dataclass(frozen=True, slots=True)
class NoKeys:
    """What stands in for a release of keys where none is installed."""

    def ask(self, wanted: KeyRequest) -> bytearray:
        """Refuse, with the next step."""
        raise RefusedError(
            Reason.KMS_UNAVAILABLE,
            f'the data key of model "{wanted.model}" version {wanted.version} cannot be asked for: this installation '
            "releases no keys; install a release of keys, then let the pods of the service be made anew",
        )


def convert_refusal(error: SekishoError, *, who: str, unavailable: Reason = Reason.KMS_UNAVAILABLE) -> SekishoError:
    """Return an error that the pod can report: one with a reason that is not the pod's to give gets another."""
    if error.reason in REPORTABLE:
        return error
    if error.retry:
        return UnavailableError(unavailable, f"{who} cannot answer: {error.reason}: {error.message}")
    return RefusedError(Reason.KEY_DENIED, f"{who} refuses this pod: {error.reason}: {error.message}")


def parse_request(data: bytes) -> KeyRequest:
    """Read a question that `KeyRequest.encode` has spelt.

    Raises:
        RefusedError: SealInvalid; it is spelt otherwise.
    """
    value = parse_canonical(data, name="the question", max_bytes=MAX_QUESTION_BYTES)
    fields = Fields.of(value, name="the question", known=("class", "keyFile", "manifestDigest", "model", "version"))
    return KeyRequest(
        key_file=fields.base64("keyFile", most=MAX_KEY_FILE_BYTES),
        manifest_digest=fields.text("manifestDigest"),
        model=fields.text("model"),
        version=fields.integer("version"),
        data_class=fields.text("class"),
    )


def wipe(secret: bytearray) -> None:
    """Overwrite a secret in place; copies that libraries made are beyond reach."""
    secret[:] = bytes(len(secret))


def _read_key(response: http.client.HTTPResponse) -> bytearray:
    data = response.read(MAX_ANSWER_BYTES + 1)
    if len(data) <= MAX_ANSWER_BYTES and response.length:
        raise http.client.IncompleteRead(b"", response.length)  # nothing of the answer goes along
    try:
        body = json.loads(data) if len(data) <= MAX_ANSWER_BYTES else None
        text = body["dataKey"] if isinstance(body, dict) and set(body) == {"dataKey"} else ""
        key = bytearray(base64.b64decode(text, validate=True)) if isinstance(text, str) else bytearray()
    except (ValueError, binascii.Error, RecursionError):
        key = bytearray()
    if len(key) != KEY_BYTES:
        raise UnavailableError(Reason.KMS_UNAVAILABLE, "the release of keys answered something that is no data key")
    return key
