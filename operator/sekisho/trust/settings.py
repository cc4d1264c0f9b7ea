"""Settings of the trust controller, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sekisho.api.names import HEALTH_PORT, HTTPS_TARGET_PORT, SYSTEM_NAMESPACE
from sekisho.errors import Reason, RefusedError
from sekisho.kube.variables import read_number, read_port


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """How one trust controller runs.

    Attributes:
        policy: Name of the EvidencePolicy that nodes must satisfy.
        valid_seconds: How long an attestation counts.
        interval_seconds: After how long a node is asked to come again.
        collateral_dir: Where roots, revocation lists and the list of allowed endorsement keys are mounted.
        hardware_dir: Where the collateral of confidential virtual machines is mounted; it may be missing.
        qps: Requests a second to the API server.
    """

    policy: str
    valid_seconds: int = 3600
    interval_seconds: int = 300
    collateral_dir: Path = Path("/etc/sekisho/collateral")
    hardware_dir: Path = Path("/etc/sekisho/hardware")
    tls_dir: Path = Path("/etc/sekisho/tls")
    leader_election: bool = True
    lease_seconds: int = 15
    qps: int = 400
    namespace: str = SYSTEM_NAMESPACE
    pod_name: str = "local"
    host: str = "0.0.0.0"
    https_port: int = HTTPS_TARGET_PORT
    health_port: int = HEALTH_PORT
    log_level: str = "INFO"


def read_settings(environ: Mapping[str, str]) -> TrustSettings:
    """Read SEKISHO_* variables.

    Raises:
        RefusedError: InvalidSpec; a value is missing or cannot be used, the variable is named.
    """
    policy = environ.get("SEKISHO_EVIDENCE_POLICY", "")
    if not policy:
        raise RefusedError(
            Reason.INVALID_SPEC, "SEKISHO_EVIDENCE_POLICY is missing; it names the EvidencePolicy for nodes"
        )
    default = TrustSettings(policy)
    valid = read_number(environ, "SEKISHO_VALID_SECONDS", default.valid_seconds, least=60, most=7 * 86_400)
    interval = read_number(environ, "SEKISHO_INTERVAL_SECONDS", default.interval_seconds, least=10, most=86_400)
    if interval * 2 > valid:
        raise RefusedError(
            Reason.INVALID_SPEC,
            f"SEKISHO_INTERVAL_SECONDS is {interval} and SEKISHO_VALID_SECONDS {valid}; a node must have two tries "
            "before its attestation ends",
        )
    return TrustSettings(
        policy=policy,
        valid_seconds=valid,
        interval_seconds=interval,
        collateral_dir=Path(environ.get("SEKISHO_COLLATERAL_DIR", str(default.collateral_dir))),
        hardware_dir=Path(environ.get("SEKISHO_HARDWARE_DIR", str(default.hardware_dir))),
        tls_dir=Path(environ.get("SEKISHO_TLS_DIR", str(default.tls_dir))),
        leader_election=environ.get("SEKISHO_LEADER_ELECTION", "true").lower() == "true",
        lease_seconds=read_number(environ, "SEKISHO_LEASE_SECONDS", default.lease_seconds, least=3, most=300),
        qps=read_number(environ, "SEKISHO_QPS", default.qps, least=1, most=10_000),
        namespace=environ.get("SEKISHO_NAMESPACE", default.namespace),
        pod_name=environ.get("SEKISHO_POD_NAME", default.pod_name),
        host=environ.get("SEKISHO_BIND", default.host),
        https_port=read_port(environ, "SEKISHO_HTTPS_PORT", default.https_port),
        health_port=read_port(environ, "SEKISHO_HEALTH_PORT", default.health_port),
        log_level=environ.get("SEKISHO_LOG_LEVEL", default.log_level),
    )
