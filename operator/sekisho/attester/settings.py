"""Settings of the attester, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sekisho.api.names import HEALTH_PORT, HTTPS_TARGET_PORT, SYSTEM_NAMESPACE, TRUST_SERVICE
from sekisho.attest.tpm2.commands import PCRS
from sekisho.attester.tpm import QUOTED_PCRS
from sekisho.errors import Reason, RefusedError
from sekisho.kube.variables import read_port


@dataclass(frozen=True, slots=True)
class AttesterSettings:
    """How one attester runs.

    Attributes:
        node: Name of the node it runs on.
        tpm: Device or socket of the TPM; None where none is used.
        pcrs: What is quoted.
        tsm: Root of configfs-tsm; None where none is used.
        event_log: Where the firmware's log is; it may be missing.
        nvidia: Whether the node's GPUs and NVSwitches are asked.
        nvidia_libraries: Folder of the driver's libraries; None where the loader finds them.
        trust_host: Where the trust controller is; empty where nodes are not attested and only pods ask.
        trust_port: No variable sets it: SEKISHO_TRUST_PORT is what kubelets call an address of the Service.
    """

    node: str
    namespace: str = SYSTEM_NAMESPACE
    tpm: Path | None = None
    pcrs: tuple[int, ...] = QUOTED_PCRS
    tsm: Path | None = None
    event_log: Path | None = None
    nvidia: bool = False
    nvidia_libraries: Path | None = None
    trust_host: str = ""
    trust_port: int = 443
    token_file: Path = Path("/var/run/secrets/sekisho/token")
    ca_file: Path = Path("/etc/sekisho/ca/ca.crt")
    tls_dir: Path = Path("/etc/sekisho/tls")
    host: str = "0.0.0.0"
    https_port: int = HTTPS_TARGET_PORT
    health_port: int = HEALTH_PORT
    log_level: str = "INFO"

    @property
    def trust_name(self) -> str:
        """The name that the trust controller's certificate carries."""
        return f"{TRUST_SERVICE}.{self.namespace}.svc"


def read_settings(environ: Mapping[str, str]) -> AttesterSettings:
    """Read SEKISHO_* variables.

    Raises:
        RefusedError: InvalidSpec; a value is missing or cannot be used, the variable is named.
    """
    node = environ.get("SEKISHO_NODE_NAME", "")
    if not node:
        raise RefusedError(Reason.INVALID_SPEC, "SEKISHO_NODE_NAME is missing; it is the name of the pod's node")
    tpm, tsm = _read_path(environ, "SEKISHO_TPM"), _read_path(environ, "SEKISHO_TSM")
    if tpm is None and tsm is None:
        raise RefusedError(Reason.INVALID_SPEC, "neither SEKISHO_TPM nor SEKISHO_TSM names anything that could attest")
    default = AttesterSettings(node)
    return AttesterSettings(
        node=node,
        namespace=environ.get("SEKISHO_NAMESPACE", default.namespace),
        tpm=tpm,
        pcrs=_read_pcrs(environ.get("SEKISHO_PCRS", "")),
        tsm=tsm,
        event_log=_read_path(environ, "SEKISHO_EVENT_LOG"),
        nvidia=environ.get("SEKISHO_NVIDIA", "").lower() == "true",
        nvidia_libraries=_read_path(environ, "SEKISHO_NVIDIA_LIBRARIES"),
        trust_host=environ.get("SEKISHO_TRUST_HOST", default.trust_host),
        token_file=_read_path(environ, "SEKISHO_TOKEN_FILE") or default.token_file,
        ca_file=_read_path(environ, "SEKISHO_CA_FILE") or default.ca_file,
        tls_dir=_read_path(environ, "SEKISHO_TLS_DIR") or default.tls_dir,
        host=environ.get("SEKISHO_BIND", default.host),
        https_port=read_port(environ, "SEKISHO_HTTPS_PORT", default.https_port),
        health_port=read_port(environ, "SEKISHO_HEALTH_PORT", default.health_port),
        log_level=environ.get("SEKISHO_LOG_LEVEL", default.log_level),
    )


def _read_path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name, "")
    return Path(text) if text else None


def _read_pcrs(text: str) -> tuple[int, ...]:
    if not text:
        return QUOTED_PCRS
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part[:3]) < PCRS for part in parts):
        raise RefusedError(Reason.INVALID_SPEC, f"SEKISHO_PCRS is not a list of numbers from 0 to {PCRS - 1}")
    return tuple(sorted({int(part) for part in parts}))
