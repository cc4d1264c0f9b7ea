"""How a refusal leaves the process: one exit code for each kind, so that scripts need not read text."""

import errno
from collections.abc import Mapping
from typing import Final

from sekisho.errors import Reason, RefusedError, SekishoError

OK: Final = 0
REFUSED: Final = 3
BROKEN: Final = 4
UNTRUSTED: Final = 5
KEY: Final = 6
SCAN: Final = 7
UNAVAILABLE: Final = 8
LOCAL: Final = 9
INTERRUPTED: Final = 130

_CODES: Final[Mapping[Reason, int]] = {
    Reason.SEAL_BROKEN: BROKEN,
    Reason.DIGEST_MISMATCH: BROKEN,
    Reason.RECORD_BROKEN: BROKEN,
    Reason.RECORD_TRUNCATED: BROKEN,
    Reason.RECORD_REWRITTEN: BROKEN,
    Reason.RECORD_FORKED: BROKEN,
    Reason.SIGNATURE_MISSING: UNTRUSTED,
    Reason.SIGNATURE_INVALID: UNTRUSTED,
    Reason.SIGNER_NOT_TRUSTED: UNTRUSTED,
    Reason.VERSION_ROLLED_BACK: UNTRUSTED,
    Reason.KEY_MISMATCH: KEY,
    Reason.KEY_NOT_FOUND: KEY,
    Reason.KEY_DISABLED: KEY,
    Reason.KEY_VERSION_REVOKED: KEY,
    Reason.KEY_DENIED: KEY,
    Reason.KEY_UNSAFE: KEY,
    Reason.SCAN_MISSING: SCAN,
    Reason.SCAN_FINDINGS: SCAN,
    Reason.APPROVAL_MISSING: SCAN,
}

EXIT_CODES: Final = """\b
Exit codes: 0 done; 2 wrong usage; 3 refused: the input; 4 refused: changed, cut or moved bytes;
5 refused: signatures; 6 refused: the key; 7 refused: scan or approval; 8 not now: a registry or key
service does not answer, try again; 9 this machine: disk full or a file cannot be read; 130 interrupted."""


def choose_exit_code(error: SekishoError) -> int:
    """Return the exit code for a refusal."""
    return UNAVAILABLE if error.retry else _CODES.get(error.reason, REFUSED)


def describe_local(error: OSError) -> str:
    """Say what this machine could not do, and what helps."""
    what = error.strerror or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return f"{what}{where}; make room and run the same command again: finished files are kept"
    return f"{what}{where}"


def refuse(text: str, *, reason: Reason = Reason.SEAL_INVALID) -> RefusedError:
    """Build a refusal of the owner's input."""
    return RefusedError(reason, text)
