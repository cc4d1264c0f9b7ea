"""What evidence of nodes is verified against, from a mounted folder; read again when it changes, never fetched."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.trust.enrolment import Makers

_LOG: Final = logging.getLogger(__name__)
FOLLOW_SECONDS: Final = 30.0
MAX_FILE_BYTES: Final = 4 << 20
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_END: Final = "-----END X509 CRL-----"


@dataclass(slots=True)
class CollateralFolder:
    """A folder of tpm-roots.pem, tpm-intermediates.pem, tpm-crls.pem and endorsement-keys.json; what lacks is empty.

    Attributes:
        makers: As it was last read in full; what cannot be read later does not replace it.
    """

    folder: Path
    makers: Makers = field(default_factory=lambda: Makers(()))
    _stamp: tuple[Any, ...] = ()

    def load(self) -> bool:
        """Read the folder if it changed; blocking. Returns whether it did.

        Raises:
            RefusedError: CollateralInvalid; a file cannot be read, it is named.
        """
        stamp = tuple(sorted((path.name, path.stat().st_mtime_ns) for path in self.folder.glob("[!.]*")))
        if stamp == self._stamp:
            return False
        self.makers = Makers(
            roots=_read_certificates(self.folder / "tpm-roots.pem"),
            intermediates=_read_certificates(self.folder / "tpm-intermediates.pem"),
            crls=_read_crls(self.folder / "tpm-crls.pem"),
            allowed=_read_allowed(self.folder / "endorsement-keys.json"),
        )
        self._stamp = stamp
        return True

    async def follow(self) -> None:
        """Look at the folder again and again; what cannot be read is told, and the old goes on."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                if await asyncio.to_thread(self.load):
                    _LOG.info("collateral was read anew", extra={"roots": len(self.makers.roots)})
            except (SekishoError, OSError) as error:
                _LOG.error("collateral cannot be read anew", extra={"detail": str(error)})


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _invalid(path, error.strerror or "it cannot be opened") from error
    if len(data) > MAX_FILE_BYTES:
        raise _invalid(path, f"it is longer than {MAX_FILE_BYTES} bytes")
    return data


def _read_certificates(path: Path) -> tuple[bytes, ...]:
    data = _read(path)
    if not data.strip():
        return ()
    try:
        return tuple(item.public_bytes(Encoding.DER) for item in x509.load_pem_x509_certificates(data))
    except ValueError as error:
        raise _invalid(path, "it is no PEM of certificates") from error


def _read_crls(path: Path) -> tuple[bytes, ...]:
    text = _read(path).decode("ascii", "replace")
    try:
        return tuple(
            x509.load_pem_x509_crl(f"{part}{_END}\n".encode()).public_bytes(Encoding.DER)
            for part in text.split(_END)
            if part.strip()
        )
    except ValueError as error:
        raise _invalid(path, "it is no PEM of revocation lists") from error


def _read_allowed(path: Path) -> Mapping[str, frozenset[str]]:
    data = _read(path)
    if not data.strip():
        return {}
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid(path, "it is not JSON") from error
    if not isinstance(said, dict) or not all(isinstance(keys, list) for keys in said.values()):
        raise _invalid(path, "it is no object of lists, by node")
    for keys in said.values():
        if not all(isinstance(key, str) and len(key) == 64 and _HEX_DIGITS.issuperset(key) for key in keys):
            raise _invalid(path, "a key is not named by 64 hexadecimal digits")
    return {str(node): frozenset(keys) for node, keys in said.items()}


def _invalid(path: Path, why: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, f"{path} cannot be used: {why}")
