"""What an installation decides of its ledger beside sizes, from environment variables SEKISHO_RECORD_*."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sekisho.api.problems import refuse_variable
from sekisho.ledger.notes import check_name
from sekisho.recording.keeper import Keeping
from sekisho.recording.record import Identity, Record, RecordLimits
from sekisho.recording.store import ObjectStore, StoreAddress

PREFIX: Final = "SEKISHO_RECORD_"
_DAY: Final = 86_400.0


class RecordingSettings(BaseModel):
    """Names, keys, retention and copies of one process's logs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    key: Path | None = None
    key_before: Path | None = None
    segment_seconds: Annotated[float, Field(ge=1, le=366 * _DAY)] = _DAY
    checkpoint_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    retention_days: Annotated[float, Field(gt=0, le=36_600)] | None = None
    copy_to: str = ""
    copy_endpoint: str = ""
    copy_region: str = "us-east-1"
    copy_credentials: Path | None = None
    copy_ca: Path | None = None
    copy_plain_http: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; an empty variable is one that is not there.

        Raises:
            RefusedError: InvalidSpec; a variable cannot be understood. The message names it, never its value.
        """
        given = {
            key[len(PREFIX) :].lower(): value for key, value in environ.items() if key.startswith(PREFIX) and value
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise refuse_variable(error, PREFIX) from error


@dataclass(frozen=True, slots=True)
class Writer:
    """Which process writes.

    Attributes:
        folder: Where its keys and logs are.
        process: Part of the name of its logs where the installation gives none.
        instance: Which replica.
        limits: Bounds.
    """

    folder: Path
    process: str
    instance: str
    limits: RecordLimits


def build_record(
    writer: Writer, settings: RecordingSettings, *, refusal: str, observe: Callable[[float, int], None]
) -> Record:
    """Put the record of a process together.

    Raises:
        RefusedError: InvalidSpec; a name or address is none.
    """
    name = check_name(settings.name or f"sekisho/{writer.process}")
    return Record(
        writer.folder,
        Identity(check_name(writer.instance), name, settings.key, settings.key_before),
        limits=writer.limits,
        keeping=_build_keeping(settings, f"{name}/{writer.instance}/", writer.limits.max_bytes),
        refusal=refusal,
        observe=observe,
    )


def _build_keeping(settings: RecordingSettings, prefix: str, max_bytes: int) -> Keeping:
    retention = settings.retention_days * _DAY if settings.retention_days else None
    if not settings.copy_to:
        return Keeping(retention)
    address = StoreAddress(
        settings.copy_to, settings.copy_endpoint or None, settings.copy_region, settings.copy_credentials,
        settings.copy_ca, settings.copy_plain_http,
    )  # fmt: skip
    return Keeping(retention, ObjectStore(address), f"{address.prefix}{prefix}", max_bytes // 2)
