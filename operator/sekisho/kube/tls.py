"""A certificate from a mounted Secret: loaded at start, and again when the Secret behind it changes."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

_LOG: Final = logging.getLogger(__name__)
_CHECK_SECONDS: Final = 5.0


class ServedPair:
    """A server's context whose certificate and key are replaced together, or not at all.

    Loading into a context that serves would not do: a pair that does not fit leaves it with half of each, and so does
    every handshake that comes between the two.

    Args:
        client_roots: Roots of clients' certificates, PEM; who sends one that does not lead there gets no connection,
            who sends none does. None: none are asked for.

    Raises:
        ValueError, OSError: The roots cannot be used.
    """

    def __init__(self, *, client_roots: str | None = None) -> None:
        self._client_roots = client_roots
        self._pair: ssl.SSLContext | None = None
        self.context: Final = self._build()
        self.context.sni_callback = self._serve  # is asked in each handshake, whether a name was sent or not

    def replace(self, certificate: Path, key: Path) -> None:
        """Serve another pair from now on; blocking.

        Raises:
            OSError: They cannot be read, or do not belong together; the old pair goes on.
        """
        pair = self._build()
        pair.load_cert_chain(certificate, key)
        self._pair = pair

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self._client_roots is not None:
            context.load_verify_locations(cadata=self._client_roots)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _serve(self, connection: ssl.SSLObject | ssl.SSLSocket, *_: object) -> int | None:
        if self._pair is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._pair
        return None


class ServerTls:
    """A context whose certificate follows the files of a folder; running connections keep the one they began with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._served = ServedPair()
        self._stamp: tuple[int, ...] = ()
        self.context: Final = self._served.context
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3

    def load(self) -> bool:
        """Load certificate and key if they changed; blocking.

        Returns:
            Whether they were loaded.

        Raises:
            OSError: They cannot be read, or do not belong together; the old ones go on.
        """
        certificate, key = self._folder / "tls.crt", self._folder / "tls.key"
        stamp = (certificate.stat().st_mtime_ns, certificate.stat().st_ino, key.stat().st_mtime_ns, key.stat().st_ino)
        if stamp == self._stamp:
            return False
        self._served.replace(certificate, key)
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
