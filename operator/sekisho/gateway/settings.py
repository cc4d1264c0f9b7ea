"""Settings of the gateway, from environment variables SEKISHO_*."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sekisho.api.meta import parse_quantity
from sekisho.api.names import HEALTH_PORT, HTTPS_TARGET_PORT
from sekisho.api.problems import refuse_variable
from sekisho.gateway.admission import AdmissionLimits
from sekisho.gateway.relay import RelayLimits
from sekisho.gateway.waking.holding import WakeLimits
from sekisho.kube.reflecting import Freshness
from sekisho.recording.record import RecordLimits
from sekisho.recording.settings import RecordingSettings

PREFIX = "SEKISHO_"
PROOF_REFRESH_SECONDS = 60  # how seldom the depot renews the time of a good proof


def _parse_size(value: Any) -> Any:
    return int(parse_quantity(value)) if isinstance(value, str) else value


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Size = Annotated[int, BeforeValidator(_parse_size), Field(ge=1024)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Settings(BaseModel):
    """What an installation decides; sizes are quantities such as 2Mi."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bind: str = "0.0.0.0"
    https_port: Port = HTTPS_TARGET_PORT
    health_port: Port = HEALTH_PORT
    tls_dir: Path = Path("/etc/sekisho/tls")
    record_dir: Path = Path("/var/lib/sekisho")
    issuers_file: Path = Path("/etc/sekisho/identity/issuers.json")
    api_keys_file: Path = Path("/etc/sekisho/api-keys/keys.json")
    client_roots_file: Path | None = None
    namespace: Annotated[str, Field(max_length=63)] = "sekisho-system"
    replicas: Annotated[int, Field(ge=0, le=64)] = 1
    pod_name: str = Field(default_factory=socket.gethostname)
    names: bool = False
    placeholder_key_file: Path = Path("/etc/sekisho/placeholders/key")
    classifier_url: Annotated[str, Field(max_length=1024)] = ""
    classifier_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    cluster_domain: Annotated[str, Field(max_length=253)] = ""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    max_body: Size = 2 << 20
    max_answer: Size = 8 << 20
    max_stream: Size = 256 << 20
    max_buffered: Size = 96 << 20
    max_requests: Count = 512
    max_requests_per_caller: Count = 64
    max_connections: Count = 4096

    head_seconds: Seconds = 10.0
    body_seconds: Seconds = 30.0
    caller_stall_seconds: Seconds = 60.0
    connect_seconds: Seconds = 5.0
    first_byte_seconds: Seconds = 120.0
    answer_seconds: Seconds = 600.0
    idle_seconds: Seconds = 60.0
    record_seconds: Seconds = 5.0
    record_segment: Size = 64 << 20
    record_max: Size = 900 << 20
    recording: RecordingSettings = Field(default_factory=RecordingSettings)
    facts_max_age_seconds: Annotated[float, Field(ge=5, le=600)] = 30.0
    hold_seconds: Annotated[float, Field(ge=0, le=120)] = 10.0
    wake_seconds: Annotated[float, Field(ge=0, le=1800)] = 120.0
    wake_progress_seconds: Annotated[float, Field(gt=0, le=1800)] = 5.0
    proof_max_age_seconds: Annotated[int, Field(ge=2, le=86400)] = 90
    drain_delay_seconds: Annotated[float, Field(ge=0, le=600)] = 3.0
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 45.0

    @model_validator(mode="after")
    def _check_classifier(self) -> Self:
        """Texts go there before anything is taken out of them, so it is a Service of this cluster or this very host."""
        parts = urlsplit(self.classifier_url)
        host, ends = parts.hostname or "", (".svc", f".svc.{self.cluster_domain}" if self.cluster_domain else ".svc")
        inside = parts.scheme in {"http", "https"} and (host.endswith(ends) or host in {"127.0.0.1", "localhost"})
        if self.classifier_url and not inside:
            raise ValueError("SEKISHO_CLASSIFIER_URL must be http or https to NAME.NAMESPACE.svc, or to this host")
        return self

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings.

        Raises:
            RefusedError: A variable cannot be understood; the message names it, never its value.
        """
        given = {key[len(PREFIX) :].lower(): value for key, value in environ.items() if key.startswith(PREFIX)}
        try:
            return cls.model_validate(given | {"recording": RecordingSettings.read(environ)})
        except ValidationError as error:
            raise refuse_variable(error, PREFIX) from error

    @property
    def admission(self) -> AdmissionLimits:
        """Bounds of what is under way."""
        return AdmissionLimits(self.max_requests, self.max_requests_per_caller, self.max_buffered)

    @property
    def wake(self) -> WakeLimits:
        """Bounds of what is held for models that rest: a quarter of what may be under way."""
        most, size = max(1, self.max_requests // 4), self.max_buffered // 4
        return WakeLimits(self.wake_seconds, most, size, self.wake_progress_seconds)

    @property
    def relay(self) -> RelayLimits:
        """Bounds of a relay."""
        return RelayLimits(
            connect_seconds=self.connect_seconds,
            first_byte_seconds=self.first_byte_seconds,
            answer_seconds=self.answer_seconds,
            idle_seconds=self.idle_seconds,
            max_answer_bytes=self.max_answer,
            max_stream_bytes=self.max_stream,
        )

    @property
    def record(self) -> RecordLimits:
        """Bounds of the record."""
        return RecordLimits(
            segment_bytes=self.record_segment, max_bytes=self.record_max, commit_seconds=self.record_seconds,
            segment_seconds=self.recording.segment_seconds, checkpoint_seconds=self.recording.checkpoint_seconds,
        )  # fmt: skip

    @property
    def proof_seconds(self) -> float:
        """Age from which a pod's last good proof of isolation does not count any more, as the controller reckons it."""
        return 2.0 * self.proof_max_age_seconds + PROOF_REFRESH_SECONDS

    @property
    def freshness(self) -> Freshness:
        """How old knowledge of the cluster may be: two watches may fail before it is too old."""
        most = self.facts_max_age_seconds
        return Freshness(watch_seconds=max(1, int(most / 3)), max_age_seconds=most)
