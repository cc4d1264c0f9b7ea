"""The kinds that sekisho reads or writes, and where the API server keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api.names import GROUP, VERSION
from sekisho.errors import Reason, RefusedError


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API server serves it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """`plural.group`, as errors and audit logs name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of one object or of a part of it.

        Raises:
            ValueError: A name could not be one of an object, so it must not become part of a path.
        """
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        for part in parts[1:]:
            if "/" in part or part in {".", ".."} or not part.isascii() or not part.isprintable() or " " in part:
                raise ValueError(f"{part[:80]!r} cannot be part of an object's path")
        return "/".join(parts)


NODES: Final = Resource("", "v1", "Node", "nodes", namespaced=False)
NAMESPACES: Final = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
PODS: Final = Resource("", "v1", "Pod", "pods")
SERVICES: Final = Resource("", "v1", "Service", "services")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAPS: Final = Resource("", "v1", "ConfigMap", "configmaps")
SECRETS: Final = Resource("", "v1", "Secret", "secrets")
EVENTS: Final = Resource("events.k8s.io", "v1", "Event", "events")
DEPLOYMENTS: Final = Resource("apps", "v1", "Deployment", "deployments")
REPLICA_SETS: Final = Resource("apps", "v1", "ReplicaSet", "replicasets")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGETS: Final = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
LEASES: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases")
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
POLICIES: Final = Resource(GROUP, VERSION, "ClassificationPolicy", "classificationpolicies", namespaced=False)
SITES: Final = Resource(GROUP, VERSION, "Site", "sites", namespaced=False)
RUNTIMES: Final = Resource(GROUP, VERSION, "Runtime", "runtimes", namespaced=False)
MODELS: Final = Resource(GROUP, VERSION, "Model", "models")
INFERENCE_SERVICES: Final = Resource(GROUP, VERSION, "InferenceService", "inferenceservices")
EVIDENCE_POLICIES: Final = Resource(GROUP, VERSION, "EvidencePolicy", "evidencepolicies", namespaced=False)
KEY_RELEASE_POLICIES: Final = Resource(GROUP, VERSION, "KeyReleasePolicy", "keyreleasepolicies")
DATA_GRANTS: Final = Resource(GROUP, VERSION, "DataGrant", "datagrants")

ACCESS_POLICIES: Final = Resource(GROUP, VERSION, "AccessPolicy", "accesspolicies")
GRANT_KINDS: Final = (EVIDENCE_POLICIES, KEY_RELEASE_POLICIES, DATA_GRANTS)
OWN_KINDS: Final = (POLICIES, SITES, RUNTIMES, MODELS, INFERENCE_SERVICES, *GRANT_KINDS, ACCESS_POLICIES)
CHILD_KINDS: Final = (NETWORK_POLICIES, SERVICE_ACCOUNTS, CONFIG_MAPS, SERVICES, DISRUPTION_BUDGETS, DEPLOYMENTS)
ALL_KINDS: Final = (
    *OWN_KINDS, *CHILD_KINDS, NODES, NAMESPACES, PODS, SECRETS, EVENTS, LEASES, TOKEN_REVIEWS, ACCESS_REVIEWS,
)  # fmt: skip
BY_KIND: Final[Mapping[str, Resource]] = {resource.kind: resource for resource in ALL_KINDS}
_BY_API: Final[Mapping[tuple[str, str], Resource]] = {(r.api_version, r.kind): r for r in ALL_KINDS}


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """Return the resource of a manifest.

    Raises:
        RefusedError: sekisho has nothing to do with that kind.
    """
    key = (str(manifest.get("apiVersion", "")), str(manifest.get("kind", "")))
    found = _BY_API.get(key)
    if found is None:
        raise RefusedError(
            Reason.APPLY_REFUSED, f"sekisho does not write {key[1] or 'objects without a kind'} of {key[0]}"
        )
    return found
