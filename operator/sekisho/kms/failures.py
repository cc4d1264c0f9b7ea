"""The refusals of key services in one wording. Nothing that a service answered is repeated: it may hold secrets."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

MAX_SECRET_FILE_BYTES = 64 * 1024
_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


def not_found(kms: str, key_id: str) -> RefusedError:
    """Say that the service has no such key, or none that we may see."""
    text = f"{kms} has no key {_name(key_id)}; check the name, the place and that it was not deleted"
    return RefusedError(Reason.KEY_NOT_FOUND, text)


def invalid_name(kms: str, key_id: str, wanted: str) -> RefusedError:
    """Say that a key's name cannot be one; the service is not asked."""
    return RefusedError(Reason.KEY_NOT_FOUND, f"{_name(key_id)} is no name of a key in {kms}: {wanted}")


def denied(kms: str, key_id: str, right: str) -> RefusedError:
    """Say which right is missing."""
    return RefusedError(Reason.KEY_DENIED, f"{kms} denied us {_name(key_id)}; this needs {right}")


def disabled(kms: str, key_id: str, state: str) -> RefusedError:
    """Say in which state the key is."""
    return RefusedError(Reason.KEY_DISABLED, f"{kms} does not use the key {_name(key_id)}: {state}")


def version_revoked(kms: str, key_id: str, text: str) -> RefusedError:
    """Say which version is not to be used any more."""
    text = f"the version of {kms} key {_name(key_id)} is revoked: {text}; rewrap the model's key"
    return RefusedError(Reason.KEY_VERSION_REVOKED, text)


def mismatch(kms: str, key_id: str, text: str = "") -> RefusedError:
    """Say that key, context and wrapped bytes do not belong together."""
    text = text or "does not fit: another key, model, version or class wrapped it, or its bytes were changed"
    return RefusedError(Reason.KEY_MISMATCH, f"the wrapped key of {kms} key {_name(key_id)} {text}")


def unsafe(kms: str, key_id: str, text: str) -> RefusedError:
    """Say why the key may not guard a production model."""
    return RefusedError(Reason.KEY_UNSAFE, f"{kms} key {_name(key_id)} is unsafe: {text}")


def unavailable(kms: str, text: str) -> UnavailableError:
    """Say what kept the service from answering."""
    return UnavailableError(Reason.KMS_UNAVAILABLE, f"the key service {kms} gave no usable answer: {text}")


def guarded(kms: str, work: Callable[[], _T]) -> _T:
    """Ask a key service by work of its client.

    Raises:
        SekishoError: As the work does; KmsUnavailable where a client library throws what nobody expects of it.
    """
    try:
        return work()
    except SekishoError:
        raise
    except Exception as error:  # noqa: BLE001 - what it says may hold secrets
        raise _unforeseen(kms, error) from None


def _unforeseen(kms: str, error: Exception) -> UnavailableError:
    """Log kind and place of what a client library threw, and none of its words."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    kind = type(error).__name__
    _LOG.error("a key service's client failed", extra={"kms": kms, "error": kind, "place": place})
    return unavailable(kms, f"its client failed ({kind})")


def not_installed(kms: str, extra: str) -> RefusedError:
    """Say which extra brings the client library."""
    text = f"the client of {kms} is not installed here; install sekisho[{extra}]"
    return RefusedError(Reason.KMS_UNAVAILABLE, text)


def read_secret_file(kms: str, file: Path) -> str:
    """Read a credential anew: the platform replaces such files.

    Raises:
        RefusedError: KEY_DENIED where it cannot be read, is empty, too large or not text; the content is never told.
    """
    try:
        with file.open("rb") as handle:
            data = handle.read(MAX_SECRET_FILE_BYTES + 1)
        text = data.decode().strip()
    except (OSError, UnicodeDecodeError):
        raise RefusedError(Reason.KEY_DENIED, f"the credential of {kms} in {file} cannot be read") from None
    if not text or len(data) > MAX_SECRET_FILE_BYTES or not text.isprintable():
        raise RefusedError(Reason.KEY_DENIED, f"the credential of {kms} in {file} is empty or is none")
    return text


def _name(key_id: str) -> str:
    return repr(key_id[:256])
