"""Settings of the broker, from environment variables SEKISHO_*; key services read the variables of their own tools."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sekisho.api.meta import parse_quantity
from sekisho.api.names import HEALTH_PORT, HTTPS_TARGET_PORT
from sekisho.api.problems import refuse_variable
from sekisho.broker.challenges import MAX_SECONDS
from sekisho.broker.keys import KeyLimits
from sekisho.kube.reflecting import Freshness
from sekisho.recording.record import RecordLimits
from sekisho.recording.settings import RecordingSettings

PREFIX: Final = "SEKISHO_"


def _parse_size(value: Any) -> Any:
    return int(parse_quantity(value)) if isinstance(value, str) else value


Port = Annotated[int, Field(ge=0, le=65535)]
Size = Annotated[int, BeforeValidator(_parse_size), Field(ge=1024)]


class BrokerSettings(BaseModel):
    """What an installation decides. Nothing here makes evidence count that a vendor's root does not vouch for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bind: str = "0.0.0.0"
    https_port: Port = HTTPS_TARGET_PORT
    health_port: Port = HEALTH_PORT
    tls_dir: Path = Path("/etc/sekisho/tls")
    record_dir: Path = Path("/var/lib/sekisho")
    collateral_dir: Path = Path("/etc/sekisho/collateral")
    resource_dir: Path = Path("/etc/sekisho/resources")
    pod_name: str = Field(default_factory=socket.gethostname)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    kbs: bool = False
    kbs_session_seconds: Annotated[float, Field(ge=60, le=3600)] = 300.0
    challenge_seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] = 30.0
    facts_max_age_seconds: Annotated[float, Field(ge=5, le=300)] = 30.0
    proof_max_age_seconds: Annotated[float, Field(gt=0, le=3600)] = 90.0
    kms_seconds: Annotated[float, Field(gt=0, le=60)] = 6.0
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] = 2.0
    verifier_threads: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=lambda: max(2, os.cpu_count() or 2))
    record_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    record_segment: Size = 64 << 20
    record_max: Size = 900 << 20
    recording: RecordingSettings = Field(default_factory=RecordingSettings)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            RefusedError: InvalidSpec; a variable cannot be understood. The message names it, never its value.
        """
        given = {key[len(PREFIX) :].lower(): value for key, value in environ.items() if key.startswith(PREFIX)}
        try:
            return cls.model_validate(given | {"recording": RecordingSettings.read(environ)})
        except ValidationError as error:
            raise refuse_variable(error, PREFIX) from error

    @property
    def record(self) -> RecordLimits:
        """Bounds of the record."""
        return RecordLimits(
            segment_bytes=self.record_segment, max_bytes=self.record_max, commit_seconds=self.record_seconds,
            segment_seconds=self.recording.segment_seconds, checkpoint_seconds=self.recording.checkpoint_seconds,
        )  # fmt: skip

    @property
    def freshness(self) -> Freshness:
        """How old knowledge of the cluster may be: two watches may fail before it is too old."""
        most = self.facts_max_age_seconds
        return Freshness(watch_seconds=max(1, int(most / 3)), max_age_seconds=most)

    @property
    def keys(self) -> KeyLimits:
        """Bounds of what is asked of key services."""
        return KeyLimits(seconds=self.kms_seconds)
