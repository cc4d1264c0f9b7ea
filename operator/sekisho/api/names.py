"""Every group, label, annotation and well-known name that sekisho writes or reads."""

from typing import Final

GROUP: Final = "inference.sekisho.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "sekisho"
DEPOT_FIELD_MANAGER: Final = "sekisho-depot"
BROKER_FIELD_MANAGER: Final = "sekisho-broker"
GATEWAY_FIELD_MANAGER: Final = "sekisho-gateway"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "sekisho"
APP_NAME_LABEL: Final = "app.kubernetes.io/name"
APP_NAME: Final = "sekisho"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"

CLASS_LABEL: Final = "sekisho.dev/classification"
SERVICE_LABEL: Final = "sekisho.dev/service"
SITE_LABEL: Final = "sekisho.dev/site"
OWNER_LABEL: Final = "sekisho.dev/owner"
VERSIONS_LABEL: Final = "sekisho.dev/versions"
APPLIED_DIGEST_ANNOTATION: Final = "sekisho.dev/applied-digest"

# Only labels below a *.node-restriction.kubernetes.io/ prefix count as proof: the NodeRestriction admission plugin
# keeps kubelets from writing them onto their own nodes.
NODE_TRUST_PREFIX: Final = "sekisho.node-restriction.kubernetes.io/"
NODE_TRUST_SUFFIX: Final = "-attested-at"
# A kubelet may write any annotation of its node; an admission policy keeps all of these for the trust controller.
NODE_AK_ANNOTATION: Final = f"{NODE_TRUST_PREFIX}ak-name"
NODE_EK_ANNOTATION: Final = f"{NODE_TRUST_PREFIX}ek-digest"
NODE_ATTESTED_ANNOTATION: Final = f"{NODE_TRUST_PREFIX}attested"
NODE_EVIDENCE_ANNOTATION: Final = f"{NODE_TRUST_PREFIX}evidence-digest"
NODE_EXPIRY_ANNOTATION: Final = f"{NODE_TRUST_PREFIX}expires-at"
NODE_DEVICES_ANNOTATION: Final = f"{NODE_TRUST_PREFIX}nvidia-devices"
NODE_REFUSAL_ANNOTATION: Final = f"{NODE_TRUST_PREFIX}refusal"
GPU_RESOURCE: Final = "nvidia.com/gpu"
GPU_MEMORY_LABEL: Final = "nvidia.com/gpu.memory"

ISOLATED_POD_CONDITION: Final = "sekisho.dev/isolated"
WEIGHTS_POD_CONDITION: Final = "sekisho.dev/weights"
ATTESTED_POD_CONDITION: Final = "sekisho.dev/attested"
KEY_RELEASED_POD_CONDITION: Final = "sekisho.dev/key-released"

DEFAULT_POLICY_NAME: Final = "default"
SYSTEM_NAMESPACE: Final = "sekisho-system"
DEPOT_SERVICE: Final = "sekisho-depot"
DEPOT_CANARY_SERVICE: Final = "sekisho-depot-canary"
DEPOT_LEASE: Final = "sekisho-depot"
GATEWAY_SERVICE: Final = "sekisho-gateway"
BROKER_SERVICE: Final = "sekisho-broker"
ATTESTER_SERVICE: Final = "sekisho-attester"
TRUST_SERVICE: Final = "sekisho-trust"
UNSAFE_RELEASE_SERVICE: Final = "sekisho-unsafe-development-release"
CONTROLLER_COMPONENT: Final = "controller"
DEPOT_COMPONENT: Final = "depot"
GATEWAY_COMPONENT: Final = "gateway"
BROKER_COMPONENT: Final = "broker"
ATTESTER_COMPONENT: Final = "attester"
TRUST_COMPONENT: Final = "trust"
UNSAFE_RELEASE_COMPONENT: Final = "unsafe-release"
CA_SECRET: Final = "sekisho-ca"  # noqa: S105 - the name of a Secret, not a secret
CA_CONFIGMAP: Final = "sekisho-ca"
DEPOT_TLS_SECRET: Final = "sekisho-depot-tls"  # noqa: S105 - a name
GATEWAY_TLS_SECRET: Final = "sekisho-gateway-tls"  # noqa: S105 - a name
BROKER_TLS_SECRET: Final = "sekisho-broker-tls"  # noqa: S105 - a name
ATTESTER_TLS_SECRET: Final = "sekisho-attester-tls"  # noqa: S105 - a name
TRUST_TLS_SECRET: Final = "sekisho-trust-tls"  # noqa: S105 - a name
UNSAFE_RELEASE_TLS_SECRET: Final = "sekisho-unsafe-development-release-tls"  # noqa: S105 - a name

DEPOT_AUDIENCE: Final = "sekisho-depot"
GATEWAY_AUDIENCE: Final = "sekisho-gateway"
BROKER_AUDIENCE: Final = "sekisho-broker"
ATTESTER_AUDIENCE: Final = "sekisho-attester"
TRUST_AUDIENCE: Final = "sekisho-trust"

HTTPS_TARGET_PORT: Final = 8443
HEALTH_PORT: Final = 8080
AGENT_PORT: Final = 8181
CANARY_PORT: Final = 9999
NON_ROOT_UID: Final = 65532

CHILD_SUFFIX: Final = "-predictor"


def name_child(service: str) -> str:
    """Name every child of the InferenceService `service`; KServe's users know the suffix."""
    return f"{service}{CHILD_SUFFIX}"


def trust_label(tee: str) -> str:
    """Name the node label whose value is the Unix second at which `tee` was last verified on the node."""
    return f"{NODE_TRUST_PREFIX}{tee}{NODE_TRUST_SUFFIX}"
