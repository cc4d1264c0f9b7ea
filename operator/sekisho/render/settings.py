"""What the installation decides about rendered objects: images, addresses, canaries, pull secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Canary:
    """An address that a model's pod must not be able to reach.

    Attributes:
        host: An IP address, or "$HOST_IP" for the node of the pod.
        protocols: Which of tcp, udp, icmp are tried.
    """

    name: str
    host: str
    port: int
    protocols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReleaseAddress:
    """Where pods that unseal their weights ask for data keys.

    Attributes:
        host: Cluster IP of its Service.
        service: Name of that Service, in the system namespace; its certificate carries it.
        component: Label of its pods.
        protocol: How it is asked: "broker", for evidence and on a lease, or "unsafe-development".
    """

    host: str
    service: str
    component: str
    port: int = 443
    protocol: Literal["broker", "unsafe-development"] = "unsafe-development"


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Settings of one installation.

    Attributes:
        registry: Replaces the registry host of every image the operator names; empty leaves them.
        depot_host: Cluster IP of the depot's Service; empty until it is known (then nothing is rendered that needs it).
        ca_pem: The CA bundle that signs depot and gateway.
        fence: Whether pods get the init container that closes their own network namespace.
        release: Where data keys are released; None where that is not installed, or not known yet.
        attester_host: Cluster IP of the Service of the nodes' attesters; empty where there are none, or not known yet.
        scrapers: Pod and namespace selectors that may read metrics from engines, as NetworkPolicy peers.
    """

    system_namespace: str
    agent_image: str
    gateway_url: str
    depot_host: str
    ca_pem: str
    depot_port: int = 443
    registry: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    image_pull_policy: str = "IfNotPresent"
    fence: bool = True
    canaries: tuple[Canary, ...] = ()
    proof_interval_seconds: int = 20
    proof_max_age_seconds: int = 90
    scrapers: tuple[Mapping[str, object], ...] = field(default=())
    max_weights_bytes: int = 1 << 40
    release: ReleaseAddress | None = None
    attester_host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFacts:
    """What a pod that unseals a model is told of it; the agent holds the verified manifest against every one.

    Attributes:
        manifest_digest: Digest of sekisho.json whose signatures were checked.
        model: The owner's name for it, as the manifest says it; not the name of the Model object.
        version: As the manifest counts.
        data_class: As the manifest spells it, "confidential+gdpr".
        kms: Which key service wrapped the data key.
        key_id: Name of the key-encryption key there.
        key_version: Its version when the data key was wrapped.
    """

    manifest_digest: str
    model: str
    version: int
    data_class: str
    kms: str
    key_id: str
    key_version: str
