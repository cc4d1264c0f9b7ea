"""Settings of the depot: from the environment, and the list of sources that the chart renders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from sekisho.api.meta import ApiModel, parse_quantity
from sekisho.api.names import CANARY_PORT, HEALTH_PORT, HTTPS_TARGET_PORT, SYSTEM_NAMESPACE
from sekisho.errors import Reason, RefusedError

MAX_SOURCES_BYTES: Final = 1 << 20
SourceText = Annotated[str, Field(max_length=1024)]


class SourceEntry(ApiModel):
    """One configured origin of weights, and how it is reached.

    Attributes:
        prefix: Start of the storage URIs it serves, for example "oci://registry.closed:5000/models".
        credentials_dir: Where its Secret is mounted; None for an open source.
        credentials_secret: The Secret's name, for messages.
        endpoint: Base URL of an S3-compatible store that is not AWS.
        namespaces: Whose services and Models may have what lies there; None where everybody's may.
    """

    prefix: Annotated[str, Field(min_length=7, max_length=1024, pattern=r"^(oci|https|s3)://[^/?#@\s]+")]
    credentials_dir: SourceText | None = None
    credentials_secret: SourceText | None = None
    ca_file: SourceText | None = None
    plain_http: bool = False
    proxy: SourceText | None = None
    region: SourceText | None = None
    endpoint: SourceText | None = None
    namespaces: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(min_length=1)] | None = None


_ENTRIES: Final = TypeAdapter(tuple[SourceEntry, ...])


@dataclass(frozen=True, slots=True)
class DepotSettings:
    """How one depot runs; every number has a unit in its name.

    Attributes:
        node: The node whose pods it serves, where there is a depot on each; empty for one that serves all.
    """

    cache_bytes: int = 20 << 30
    cache_dir: Path = Path("/var/lib/sekisho")
    sources_file: Path = Path("/etc/sekisho/sources/sources.json")
    tls_dir: Path = Path("/etc/sekisho/tls")
    anonymous_sources: bool = False
    proof_max_age_seconds: float = 90.0
    max_weights_bytes: int = 1 << 40
    host: str = "0.0.0.0"
    https_port: int = HTTPS_TARGET_PORT
    health_port: int = HEALTH_PORT
    canary_port: int = CANARY_PORT
    namespace: str = SYSTEM_NAMESPACE
    pod_name: str = "depot"
    node: str = ""
    log_level: str = "INFO"


def read_settings(environ: Mapping[str, str]) -> DepotSettings:
    """Read SEKISHO_* variables.

    Raises:
        RefusedError: A value cannot be used; the variable is named.
    """
    default = DepotSettings()
    try:
        name = "SEKISHO_CACHE_SIZE"
        cache_bytes = int(parse_quantity(environ.get(name, str(default.cache_bytes))))
        name = "SEKISHO_MAX_WEIGHTS"
        max_weights = int(parse_quantity(environ.get(name, str(default.max_weights_bytes))))
        name = "SEKISHO_PROOF_MAX_AGE_SECONDS"
        max_age = float(environ.get(name, str(default.proof_max_age_seconds)))
        name = "SEKISHO_HTTPS_PORT, SEKISHO_HEALTH_PORT, SEKISHO_CANARY_PORT"
        ports = [int(environ.get(key, "0")) for key in name.split(", ")]
    except ValueError as error:
        raise RefusedError(Reason.INVALID_SPEC, f"{name} cannot be used: {error}") from error
    return DepotSettings(
        cache_bytes=cache_bytes,
        cache_dir=Path(environ.get("SEKISHO_CACHE_DIR", str(default.cache_dir))),
        sources_file=Path(environ.get("SEKISHO_SOURCES_FILE", str(default.sources_file))),
        tls_dir=Path(environ.get("SEKISHO_TLS_DIR", str(default.tls_dir))),
        anonymous_sources=environ.get("SEKISHO_ANONYMOUS_SOURCES", "false").lower() == "true",
        proof_max_age_seconds=max_age,
        max_weights_bytes=max_weights,
        host=environ.get("SEKISHO_BIND", default.host),
        https_port=ports[0] or default.https_port,
        health_port=ports[1] or default.health_port,
        canary_port=ports[2] or default.canary_port,
        namespace=environ.get("SEKISHO_NAMESPACE", default.namespace),
        pod_name=environ.get("SEKISHO_POD_NAME", default.pod_name),
        node=environ.get("SEKISHO_NODE", default.node),
        log_level=environ.get("SEKISHO_LOG_LEVEL", default.log_level),
    )


def read_sources(path: Path) -> tuple[SourceEntry, ...]:
    """Read the list of sources; a missing file means that none is configured.

    Raises:
        RefusedError: The file is not as it must be; its values are not repeated.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SOURCES_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RefusedError(Reason.INVALID_SPEC, f"{path} cannot be read: {error.strerror}") from error
    try:
        if len(data) > MAX_SOURCES_BYTES:
            raise ValueError(f"it is larger than {MAX_SOURCES_BYTES} bytes")
        return _ENTRIES.validate_python(json.loads(data))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RefusedError(Reason.INVALID_SPEC, f"{path} cannot be used: {where}: {first['msg']}") from error
    except ValueError as error:
        raise RefusedError(Reason.INVALID_SPEC, f"{path} cannot be used: {type(error).__name__}") from error
