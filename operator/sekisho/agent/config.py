"""agent.json: what the controller wrote for the agent of one service."""

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from sekisho.attest.isolation import ExpectedCanary, parse_canaries
from sekisho.errors import Reason, RefusedError

MAX_CONFIG_BYTES: Final = 256 * 1024
_MAX_EGRESS = 64
_MAX_PORTS = 64
_MAX_VERSION = 2**53 - 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MODES: Final = ("depot", "mounted", "sealed")
_PROTOCOLS: Final = ("broker", "unsafe-development")
_SEALED_FIELDS: Final = ("manifestDigest", "model", "version", "class", "kms", "keyId", "keyVersion")

Mode = Literal["depot", "mounted", "sealed"]
ReleaseProtocol = Literal["broker", "unsafe-development"]


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where the depot, the release of keys or the node's attester is, and the name its certificate must carry."""

    host: str
    port: int
    server_name: str


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """Who releases data keys, and how it is asked.

    Attributes:
        protocol: "broker": for evidence, on a lease. "unsafe-development": for a token, of development keys alone.
    """

    address: ServerAddress
    protocol: ReleaseProtocol


@dataclass(frozen=True, slots=True)
class EgressRule:
    """One declared destination: an address range in CIDR notation, and TCP ports."""

    cidr: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedConfig:
    """What was verified of a sealed model before this pod was made; the artifact must be this one.

    Attributes:
        manifest_digest: Of the sekisho.json whose signatures were checked.
        model: As the manifest names it.
        data_class: As the manifest spells it.
        kms: Which kind of key service wrapped the data key, with which key.
        key_version: When it was looked at; a key that was wrapped anew since has another, so it is told only.
    """

    manifest_digest: str
    model: str
    version: int
    data_class: str
    kms: str
    key_id: str
    key_version: str


@dataclass(frozen=True, slots=True)
class HandoverConfig:
    """Where an engine that decrypts weights itself finds them, and their keys.

    Attributes:
        ciphertext: Folder of the sealed model; may lie on a disk.
        socket: Where keys are handed over; its folder is kept in memory.
    """

    ciphertext: str
    socket: str


@dataclass(frozen=True, slots=True)
class WeightsConfig:
    """How weights reach the pod.

    Attributes:
        mode: "depot": fetched by the agent. "mounted": already there, for example from a claim. "sealed": ciphertext is
            fetched and unsealed by the agent, and nothing else is served.
        sealed: There exactly where the mode is "sealed".
        handover: There where the engine decrypts sealed weights itself; the agent unseals only what lies beside them.
    """

    mode: Mode
    path: str
    sealed: SealedConfig | None = None
    handover: HandoverConfig | None = None


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Where the engine answers inside the pod."""

    port: int
    health_path: str


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything the agent knows; nothing in it is secret.

    Attributes:
        release: Where data keys are released; None where the installation has no such thing.
        attester: Where the node's own attester answers; None where nodes have none.
    """

    namespace: str
    service: str
    depot: ServerAddress
    canaries: tuple[ExpectedCanary, ...]
    egress: tuple[EgressRule, ...]
    proof_interval_seconds: float
    proof_max_age_seconds: float
    weights: WeightsConfig
    engine: EngineConfig
    release: ReleaseConfig | None = None
    attester: ServerAddress | None = None

    @property
    def leased(self) -> bool:
        """Whether the data key comes on a lease, without which nothing is served."""
        return self.weights.mode == "sealed" and self.release is not None and self.release.protocol == "broker"


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
    engine = _object(root.get("engine"), "engine")
    interval = _seconds(root.get("proofIntervalSeconds", 20), "proofIntervalSeconds")
    return AgentConfig(
        namespace=_text(root.get("namespace"), "namespace"),
        service=_text(root.get("service"), "service"),
        depot=_server(root.get("depot"), "depot"),
        canaries=parse_canaries(root.get("canaries"), host_ip=host_ip),
        egress=tuple(_egress(item) for item in _list(root.get("egress", []), "egress", most=_MAX_EGRESS)),
        proof_interval_seconds=interval,
        proof_max_age_seconds=_seconds(root.get("proofMaxAgeSeconds", 90), "proofMaxAgeSeconds"),
        weights=_weights(root.get("weights")),
        engine=EngineConfig(_port(engine.get("port"), "engine.port"), _path(engine.get("healthPath"))),
        release=None if root.get("release") is None else _release(root["release"]),
        attester=None if root.get("attester") is None else _server(root["attester"], "attester"),
    )


def _server(raw: Any, field: str) -> ServerAddress:
    item = _object(raw, field)
    return ServerAddress(
        host=_address(item.get("host"), f"{field}.host"),
        port=_port(item.get("port"), f"{field}.port"),
        server_name=_text(item.get("serverName"), f"{field}.serverName"),
    )


def _release(raw: Any) -> ReleaseConfig:
    protocol = _object(raw, "release").get("protocol")
    if not isinstance(protocol, str) or protocol not in _PROTOCOLS:
        raise _invalid(f"release.protocol is none of {', '.join(_PROTOCOLS)}")
    return ReleaseConfig(_server(raw, "release"), cast("ReleaseProtocol", protocol))


def _weights(raw: Any) -> WeightsConfig:
    item = _object(raw, "weights")
    mode, path = _mode(item.get("mode")), _text(item.get("path"), "weights.path")
    if (item.get("sealed") is None) == (mode == "sealed"):
        raise _invalid(f"weights.mode is {mode}, and weights.sealed is {'missing' if mode == 'sealed' else 'there'}")
    if item.get("handover") is not None and mode != "sealed":
        raise _invalid(f"weights.mode is {mode}, and weights.handover is there; only sealed weights are handed over")
    handover = None if item.get("handover") is None else _handover(item["handover"])
    return WeightsConfig(mode, path, _sealed(item["sealed"]) if mode == "sealed" else None, handover)


def _handover(raw: Any) -> HandoverConfig:
    item = _object(raw, "weights.handover")
    places = [_text(item.get(name), f"weights.handover.{name}") for name in ("ciphertext", "socket")]
    for name, place in zip(("ciphertext", "socket"), places, strict=True):
        if not place.startswith("/"):
            raise _invalid(f"weights.handover.{name} is not an absolute path")
    return HandoverConfig(*places)


def _sealed(raw: Any) -> SealedConfig:
    item = _object(raw, "weights.sealed")
    if set(item) != set(_SEALED_FIELDS):
        raise _invalid(f"weights.sealed has not exactly the fields {', '.join(_SEALED_FIELDS)}")
    digest, version = item["manifestDigest"], item["version"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _invalid("weights.sealed.manifestDigest is not sha256: and 64 hexadecimal digits")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= _MAX_VERSION:
        raise _invalid(f"weights.sealed.version is not a whole number from 1 to {_MAX_VERSION}")
    return SealedConfig(
        manifest_digest=digest,
        model=_text(item["model"], "weights.sealed.model"),
        version=version,
        data_class=_text(item["class"], "weights.sealed.class", most=1024),
        kms=_text(item["kms"], "weights.sealed.kms", most=64),
        key_id=_text(item["keyId"], "weights.sealed.keyId", most=2048),
        key_version=_text(item["keyVersion"], "weights.sealed.keyVersion", most=2048),
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


def _mode(value: Any) -> Mode:
    if value not in _MODES:
        raise _invalid(f"weights.mode is none of {', '.join(_MODES)}")
    return cast("Mode", value)


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


def _text(value: Any, field: str, *, most: int = 256) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise _invalid(f"{field} is not a printable text of 1 to {most} characters")
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
