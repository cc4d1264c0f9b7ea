"""agent.json: what the controller wrote for the agent of one service."""

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from sekisho.attest.isolation import ExpectedCanary, parse_canaries
from sekisho.errors import Reason, RefusedError

MAX_CONFIG_BYTES: Final = 256 * 1024
_MAX_EGRESS = 64
_MAX_PORTS = 64


@dataclass(frozen=True, slots=True)
class DepotAddress:
    """Where the depot is, and the name its certificate must carry."""

    host: str
    port: int
    server_name: str


@dataclass(frozen=True, slots=True)
class EgressRule:
    """One declared destination: an address range in CIDR notation, and TCP ports."""

    cidr: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WeightsConfig:
    """How weights reach the pod.

    Attributes:
        mode: "depot": fetched by the agent. "mounted": already there, for example from a claim.
    """

    mode: Literal["depot", "mounted"]
    path: str


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Where the engine answers inside the pod."""

    port: int
    health_path: str


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything the agent knows; nothing in it is secret."""

    namespace: str
    service: str
    depot: DepotAddress
    canaries: tuple[ExpectedCanary, ...]
    egress: tuple[EgressRule, ...]
    proof_interval_seconds: float
    proof_max_age_seconds: float
    weights: WeightsConfig
    engine: EngineConfig


def read_config(path: Path, *, host_ip: str) -> AgentConfig:
    """Read agent.json; it is re-read for every round, so a change takes effect without a restart.

    Raises:
        RefusedError: InvalidSpec, naming the field that is not as it must be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise RefusedError(Reason.INVALID_SPEC, f"{path} cannot be read: {error.strerror}") from error
    return parse_config(data, host_ip=host_ip)


def parse_config(data: bytes, *, host_ip: str) -> AgentConfig:
    """Parse agent.json; "$HOST_IP" becomes `host_ip`. Raises as `read_config` does."""
    if len(data) > MAX_CONFIG_BYTES:
        raise _invalid(f"it is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    root = _object(raw, "the document")
    depot = _object(root.get("depot"), "depot")
    weights = _object(root.get("weights"), "weights")
    engine = _object(root.get("engine"), "engine")
    interval = _seconds(root.get("proofIntervalSeconds", 20), "proofIntervalSeconds")
    return AgentConfig(
        namespace=_text(root.get("namespace"), "namespace"),
        service=_text(root.get("service"), "service"),
        depot=DepotAddress(
            host=_address(depot.get("host"), "depot.host"),
            port=_port(depot.get("port"), "depot.port"),
            server_name=_text(depot.get("serverName"), "depot.serverName"),
        ),
        canaries=parse_canaries(root.get("canaries"), host_ip=host_ip),
        egress=tuple(_egress(item) for item in _list(root.get("egress", []), "egress", most=_MAX_EGRESS)),
        proof_interval_seconds=interval,
        proof_max_age_seconds=_seconds(root.get("proofMaxAgeSeconds", 90), "proofMaxAgeSeconds"),
        weights=WeightsConfig(_mode(weights.get("mode")), _text(weights.get("path"), "weights.path")),
        engine=EngineConfig(_port(engine.get("port"), "engine.port"), _path(engine.get("healthPath"))),
    )


def _egress(raw: Any) -> EgressRule:
    item = _object(raw, "an egress rule")
    ports = tuple(_port(port, "port of an egress rule") for port in _list(item.get("ports"), "ports", most=_MAX_PORTS))
    if not ports:
        raise _invalid("an egress rule names no port")
    try:
        network = ipaddress.ip_network(_text(item.get("cidr"), "cidr of an egress rule"), strict=False)
    except ValueError as error:
        raise _invalid("cidr of an egress rule is not an address range") from error
    return EgressRule(str(network), ports)


def _mode(value: Any) -> Literal["depot", "mounted"]:
    if value not in ("depot", "mounted"):
        raise _invalid("weights.mode is not depot or mounted")
    return cast('Literal["depot", "mounted"]', value)


def _path(value: Any) -> str:
    path = _text(value, "engine.healthPath")
    if not path.startswith("/") or " " in path:
        raise _invalid("engine.healthPath is not an absolute path")
    return path


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{field} is not an object")
    return value


def _list(value: Any, field: str, *, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise _invalid(f"{field} is not a list of at most {most} items")
    return value


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable():
        raise _invalid(f"{field} is not a printable text of 1 to 256 characters")
    return value


def _address(value: Any, field: str) -> str:
    try:
        return str(ipaddress.ip_address(_text(value, field)))
    except ValueError as error:
        raise _invalid(f"{field} is not an IP address; the pod has no DNS") from error


def _port(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise _invalid(f"{field} is not a port from 1 to 65535")
    return value


def _seconds(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.05 <= value <= 86400:
        raise _invalid(f"{field} is not a number of seconds")
    return float(value)


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.INVALID_SPEC, f"agent.json cannot be used: {what}")
