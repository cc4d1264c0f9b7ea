"""The gateway's certificate, read again when its files change; connections that stand are not touched."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from sekisho.kube.tls import ServedPair

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 5.0


class ServingCertificate:
    """Holds the one TLS context of the server. New handshakes use what was loaded last.

    Args:
        folder: With `tls.crt` and `tls.key`.
        client_roots: Roots of callers' certificates, PEM; read once. None: callers' certificates are not asked for.

    Raises:
        OSError, ValueError: The roots cannot be read.
    """

    def __init__(self, folder: Path, *, client_roots: Path | None = None) -> None:
        self._certificate = folder / "tls.crt"
        self._key = folder / "tls.key"
        self._seen: tuple[bytes, bytes] | None = None
        self._served = ServedPair(client_roots=client_roots.read_text() if client_roots is not None else None)
        self.context: Final = self._served.context
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.context.set_alpn_protocols(["http/1.1"])

    @property
    def is_loaded(self) -> bool:
        """Whether there is a certificate to serve."""
        return self._seen is not None

    def load(self) -> bool:
        """Load the files if they differ from what is loaded; keep the old ones if the new ones cannot be used."""
        try:
            found = self._certificate.read_bytes(), self._key.read_bytes()
            if found == self._seen:
                return False
            self._served.replace(self._certificate, self._key)
        except OSError as error:  # ssl.SSLError among them
            _log.warning("the certificate cannot be used", extra={"detail": type(error).__name__})
            return False
        self._seen = found
        _log.info("the certificate is loaded")
        return True

    async def wait(self) -> None:
        """Wait until there is a certificate."""
        while not self.is_loaded:
            await asyncio.to_thread(self.load)
            if not self.is_loaded:
                await asyncio.sleep(1.0)

    async def follow(self) -> None:
        """Load new files as they come, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self.load)
