"""Settings of the controller, from environment variables SEKISHO_*."""

import json
import os
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sekisho.api.names import (
    BROKER_COMPONENT,
    BROKER_SERVICE,
    CANARY_PORT,
    DEPOT_COMPONENT,
    HEALTH_PORT,
    SYSTEM_NAMESPACE,
    UNSAFE_RELEASE_COMPONENT,
    UNSAFE_RELEASE_SERVICE,
)
from sekisho.api.problems import refuse_variable
from sekisho.errors import Reason, RefusedError
from sekisho.render.settings import Canary, ReleaseAddress, RenderSettings

PREFIX = "SEKISHO_"
Protocol = Literal["tcp", "udp", "icmp"]
ALL_PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp", "icmp")


def _parse_json(value: Any) -> Any:
    return json.loads(value or "[]") if isinstance(value, str) else value


def _split(value: Any) -> Any:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


class CanarySetting(BaseModel):
    """An address outside that no pod of a model may reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=63)] = "outside"
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1, max_length=3)] = ALL_PROTOCOLS


class Settings(BaseModel):
    """What an installation decides; see the chart's values for what each means to users."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: str = SYSTEM_NAMESPACE
    pod_name: str = Field(default_factory=socket.gethostname)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    agent_image: str
    gateway_url: str = ""
    registry: str = ""
    image_pull_secrets: Annotated[tuple[str, ...], BeforeValidator(_split), Field(max_length=16)] = ()
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    fence: bool = True
    canaries: Annotated[tuple[CanarySetting, ...], BeforeValidator(_parse_json), Field(max_length=24)] = ()
    scrapers: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_parse_json), Field(max_length=16)] = ()
    proof_interval_seconds: Annotated[int, Field(ge=1, le=3600)] = 20
    proof_max_age_seconds: Annotated[int, Field(ge=2, le=86400)] = 90
    max_weights_bytes: Annotated[int, Field(ge=1)] = 1 << 40

    api_host: str = ""
    api_port: Annotated[int, Field(ge=1, le=65535)] = 443
    depot_host: str = ""
    depot_per_node: bool = False
    canary_host: str = ""
    broker: bool = False
    attester: bool = False
    unsafe_development_release: bool = False
    trust: bool = False
    release_host: str = ""
    attester_host: str = ""

    workers: Annotated[int, Field(ge=1, le=256)] = 16
    # A bound against mistakes of ours; the API server's own priority and fairness decides what a burst may have.
    qps: Annotated[float, Field(gt=0)] = 1000.0
    burst: Annotated[int, Field(ge=1)] = 1000
    resync_seconds: Annotated[float, Field(ge=1)] = 300.0
    settle_seconds: Annotated[float, Field(ge=0)] = 0.3
    deaf_seconds: Annotated[float, Field(ge=1)] = 30.0
    stuck_seconds: Annotated[float, Field(ge=1)] = 120.0
    watch_server_seconds: Annotated[int, Field(ge=5)] = 300
    watch_inactivity_seconds: Annotated[float, Field(ge=1)] = 70.0
    health_port: Annotated[int, Field(ge=0, le=65535)] = HEALTH_PORT
    health_host: str = "0.0.0.0"
    leader_election: bool = True
    lease_duration_seconds: Annotated[float, Field(ge=2)] = 15.0
    certificates: bool = True

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings.

        Raises:
            RefusedError: A variable is missing or cannot be understood; the message names it, never its value.
        """
        given = {key[len(PREFIX) :].lower(): value for key, value in environ.items() if key.startswith(PREFIX)}
        if "KUBERNETES_SERVICE_HOST" in environ:
            given.setdefault("api_host", environ["KUBERNETES_SERVICE_HOST"])
            given.setdefault("api_port", environ.get("KUBERNETES_SERVICE_PORT", "443"))
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise refuse_variable(error, PREFIX) from error
        except ValueError as error:
            raise RefusedError(Reason.INVALID_SPEC, f"an environment variable of {PREFIX}* is not JSON") from error

    @property
    def release_service(self) -> str:
        """Name of the Service that releases keys: the broker's before the development release's; empty without both."""
        if self.broker:
            return BROKER_SERVICE
        return UNSAFE_RELEASE_SERVICE if self.unsafe_development_release else ""

    def render_settings(
        self, *, depot_host: str, canary_host: str, ca_pem: str, release_host: str = "", attester_host: str = ""
    ) -> RenderSettings:
        """Return what rendering needs, with what is known of the cluster by now.

        Args:
            depot_host: Address of the depot's Service.
            canary_host: Address of the depot's canary: its pod, or the Service in front of the depots of all nodes.
            ca_pem: The CA bundle.
            release_host: Address of the release of keys.
            attester_host: Address of the nodes' attesters.
        """
        return RenderSettings(
            system_namespace=self.namespace,
            agent_image=self.agent_image,
            gateway_url=self.gateway_url or f"https://sekisho-gateway.{self.namespace}.svc/v1",
            depot_host=depot_host,
            ca_pem=ca_pem,
            registry=self.registry,
            image_pull_secrets=self.image_pull_secrets,
            image_pull_policy=self.image_pull_policy,
            fence=self.fence,
            canaries=self._canaries(canary_host),
            proof_interval_seconds=self.proof_interval_seconds,
            proof_max_age_seconds=self.proof_max_age_seconds,
            scrapers=self.scrapers,
            max_weights_bytes=self.max_weights_bytes,
            release=self._release(release_host) if release_host else None,
            attester_host=attester_host,
        )

    def _release(self, host: str) -> ReleaseAddress:
        if self.broker:
            return ReleaseAddress(host, BROKER_SERVICE, BROKER_COMPONENT, protocol="broker")
        return ReleaseAddress(host, UNSAFE_RELEASE_SERVICE, UNSAFE_RELEASE_COMPONENT)

    def _canaries(self, canary_host: str) -> tuple[Canary, ...]:
        """Return the addresses that no pod may reach: four that every cluster has, then the installation's own."""
        always = [
            Canary("node", "$HOST_IP", 10250, ("tcp", "icmp")),
            Canary("metadata", "169.254.169.254", 80, ("tcp", "icmp")),
        ]
        if self.api_host:
            always.insert(0, Canary("api-server", self.api_host, self.api_port, ("tcp", "icmp")))
        if canary_host:
            # A Service answers by its ports alone.
            protocols = ("tcp", "udp") if self.depot_per_node else ALL_PROTOCOLS
            always.append(Canary(f"{DEPOT_COMPONENT}-canary", canary_host, CANARY_PORT, protocols))
        own = [Canary(item.name, item.host, item.port, item.protocols) for item in self.canaries]
        return (*always, *own)
