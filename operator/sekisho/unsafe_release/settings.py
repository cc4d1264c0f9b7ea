"""Settings of the unsafe development release, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sekisho.api.names import HEALTH_PORT, HTTPS_TARGET_PORT
from sekisho.errors import Reason, RefusedError


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
    numbers = {
        "SEKISHO_MINIMUM_VERSION": default.minimum_version,
        "SEKISHO_HTTPS_PORT": default.https_port,
        "SEKISHO_HEALTH_PORT": default.health_port,
    }
    for name, fallback in numbers.items():
        text = environ.get(name, str(fallback))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 65535:
            raise RefusedError(Reason.INVALID_SPEC, f"{name} is not a whole number from 1 to 65535")
        numbers[name] = int(text)
    minimum, https_port, health_port = numbers.values()
    return ReleaseSettings(
        keys_dir=Path(environ.get("SEKISHO_KEYS_DIR", str(default.keys_dir))),
        tls_dir=Path(environ.get("SEKISHO_TLS_DIR", str(default.tls_dir))),
        minimum_version=minimum,
        host=environ.get("SEKISHO_BIND", default.host),
        https_port=https_port,
        health_port=health_port,
        log_level=environ.get("SEKISHO_LOG_LEVEL", default.log_level),
    )
