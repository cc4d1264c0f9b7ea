"""A certificate from a mounted Secret: loaded at start, and again when the Secret behind it changes."""

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_LOG: Final = logging.getLogger(__name__)
_CHECK_SECONDS: Final = 5.0


@dataclass(slots=True)
class ServerTls:
    """A context whose certificate follows the files; running connections keep the one they began with."""

    folder: Path
    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _stamp: tuple[int, ...] = ()

    def load(self) -> bool:
        """Load certificate and key if they changed; blocking.

        Returns:
            Whether they were loaded.

        Raises:
            OSError: They cannot be read, or do not belong together.
        """
        certificate, key = self.folder / "tls.crt", self.folder / "tls.key"
        stamp = (certificate.stat().st_mtime_ns, certificate.stat().st_ino, key.stat().st_mtime_ns, key.stat().st_ino)
        if stamp == self._stamp:
            return False
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(certificate, key)
        self._stamp = stamp
        return True

    async def follow(self, *, seconds: float = _CHECK_SECONDS) -> None:
        """Check the files again and again; a broken pair is logged and the old one goes on."""
        while True:
            await asyncio.sleep(seconds)
            try:
                if await asyncio.to_thread(self.load):
                    _LOG.info("the certificate was renewed")
            except OSError as error:
                _LOG.warning("the new certificate cannot be used", extra={"error": type(error).__name__})
