"""Settings of the unsafe development release, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sekisho.api.names import HEALTH_PORT, HTTPS_TARGET_PORT
from sekisho.kube.variables import read_number, read_port


@dataclass(frozen=True, slots=True)
class ReleaseSettings:
    """How one release runs.

    Attributes:
        keys_dir: Where the Secret with development keys is mounted; one file a key, its id the name without suffix.
        minimum_version: Older versions of any key open nothing; a key's own file may demand more.
    """

    keys_dir: Path = Path("/etc/sekisho/unsafe-development-keys")
    tls_dir: Path = Path("/etc/sekisho/tls")
    minimum_version: int = 1
    host: str = "0.0.0.0"
    https_port: int = HTTPS_TARGET_PORT
    health_port: int = HEALTH_PORT
    log_level: str = "INFO"


def read_settings(environ: Mapping[str, str]) -> ReleaseSettings:
    """Read SEKISHO_* variables.

    Raises:
        RefusedError: InvalidSpec; a value cannot be used, the variable is named.
    """
    default = ReleaseSettings()
    return ReleaseSettings(
        keys_dir=Path(environ.get("SEKISHO_KEYS_DIR", str(default.keys_dir))),
        tls_dir=Path(environ.get("SEKISHO_TLS_DIR", str(default.tls_dir))),
        minimum_version=read_number(environ, "SEKISHO_MINIMUM_VERSION", default.minimum_version, least=1, most=65535),
        host=environ.get("SEKISHO_BIND", default.host),
        https_port=read_port(environ, "SEKISHO_HTTPS_PORT", default.https_port),
        health_port=read_port(environ, "SEKISHO_HEALTH_PORT", default.health_port),
        log_level=environ.get("SEKISHO_LOG_LEVEL", default.log_level),
    )
