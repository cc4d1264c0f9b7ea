"""Copies of logs in an S3-compatible store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sekisho.errors import Reason, RefusedError, UnavailableError

_RETRY: Final[Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=15)}


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the store is.

    Attributes:
        url: s3://bucket/prefix.
        endpoint: Of a store that is not Amazon's; None for Amazon's.
        credentials: Folder with the files accessKeyId and secretAccessKey; None: those of the pod's own identity.
        ca_file: PEM of an authority to trust as well.
    """

    url: str
    endpoint: str | None = None
    region: str = "us-east-1"
    credentials: Path | None = None
    ca_file: Path | None = None
    plain_http: bool = False

    @property
    def prefix(self) -> str:
        """What the names of objects begin with."""
        path = urlsplit(self.url).path.strip("/")
        return f"{path}/" if path else ""


class ObjectStore:
    """A bucket; opened when it is first written to.

    Raises:
        RefusedError: InvalidSpec; the address is none.
    """

    def __init__(self, address: StoreAddress) -> None:
        parts = urlsplit(address.url)
        if parts.scheme != "s3" or not parts.netloc:
            raise RefusedError(Reason.INVALID_SPEC, "the copy of the record goes to s3://BUCKET or s3://BUCKET/PREFIX")
        self._address = address
        self._store: Any = None

    def put(self, path: str, data: bytes) -> None:
        """Write an object.

        Raises:
            UnavailableError: RecordUnavailable; the store does not take it now.
        """
        import obstore  # noqa: PLC0415 - only where there is a copy

        self._try(path, lambda: obstore.put(self._open(), path, data, use_multipart=False))

    def clear(self, folder: str) -> None:
        """Remove every object below a folder.

        Raises:
            UnavailableError: RecordUnavailable; the store does not do it now.
        """
        import obstore  # noqa: PLC0415 - only where there is a copy

        def act() -> None:
            store = self._open()
            for found in obstore.list(store, folder):
                obstore.delete(store, [item["path"] for item in found])

        self._try(folder, act)

    def _try(self, path: str, act: Callable[[], object]) -> None:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - only where there is a copy

        try:
            act()
        except (BaseError, OSError, ValueError) as error:
            # What the library printed may hold signed addresses: it is not repeated.
            raise UnavailableError(
                Reason.RECORD_UNAVAILABLE,
                f"{path} cannot be copied to {self._address.url} ({type(error).__name__}); it is tried again",
            ) from None

    def _open(self) -> Any:
        from obstore.store import S3Store  # noqa: PLC0415 - only where there is a copy

        if self._store is None:
            address = self._address
            options: dict[str, Any] = {
                "connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60), "user_agent": "sekisho",
                "allow_http": address.plain_http,
            }  # fmt: skip
            if address.ca_file is not None:
                options["root_certificate"] = address.ca_file.read_bytes()
            config: dict[str, Any] = {"region": address.region}
            if address.endpoint:
                config["endpoint"] = address.endpoint
            if address.credentials is not None:
                for name, key in (("accessKeyId", "access_key_id"), ("secretAccessKey", "secret_access_key")):
                    config[key] = (address.credentials / name).read_text().strip()
            bucket = urlsplit(address.url).netloc
            self._store = S3Store(bucket, client_options=options, retry_config=_RETRY, **config)  # type: ignore[arg-type]
        return self._store
