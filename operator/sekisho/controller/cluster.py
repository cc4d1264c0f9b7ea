"""The stores of every kind that is watched, and the placement snapshot that is kept beside them."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sekisho.api.names import (
    APP_NAME,
    APP_NAME_LABEL,
    COMPONENT_LABEL,
    DEPOT_COMPONENT,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
    name_child,
)  # fmt: skip
from sekisho.controller.projections import (
    project_namespace,
    project_node,
    project_object,
    project_pod,
    project_quiet_object,
    project_usage,
    sketch_policy,
    without_version,
)  # fmt: skip
from sekisho.controller.store import Change, OwnerIndex, Raw, Store, name_of
from sekisho.kube.resources import (
    CHILD_KINDS,
    DISRUPTION_BUDGETS,
    INFERENCE_SERVICES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    OWN_KINDS,
    PODS,
    Resource,
)  # fmt: skip
from sekisho.placement.snapshot import NodeFacts, PodUsage, Snapshot, take_snapshot
from sekisho.render.metadata import selector_labels

PUMPED: Final = (*OWN_KINDS, NODES, NAMESPACES)
FOLLOWED: Final = (*CHILD_KINDS, PODS)
WATCHED: Final = (*PUMPED, *FOLLOWED)
# Both labels: who has them admission keeps for the operator, so nobody else fills the stores.
OURS: Final = f"{MANAGED_BY_LABEL}={MANAGED_BY},{SERVICE_LABEL}"
# Policies of others matter too: one that opens a model's pods must be seen.
SELECTORS: Final[Mapping[Resource, str]] = {kind: OURS for kind in CHILD_KINDS if kind != NETWORK_POLICIES}
USAGE_PATIENCE_SECONDS: Final = 0.5


def _keep_node(raw: Raw) -> Raw:
    meta = raw["metadata"]
    return {
        "metadata": {"name": meta["name"], "uid": meta.get("uid"), "resourceVersion": meta.get("resourceVersion")},
        "node": project_node(raw),
    }


def _keep_pod(raw: Raw) -> Raw:
    labels = raw["metadata"].get("labels") or {}
    ours = SERVICE_LABEL in labels or labels.get(APP_NAME_LABEL) == APP_NAME
    meta = raw["metadata"]
    thin = {key: meta.get(key) for key in ("namespace", "name", "uid", "resourceVersion")}
    kept: dict[str, Any] = {"metadata": thin, "usage": project_usage(raw)}
    if ours:
        kept["pod"] = project_pod(raw)
        kept["metadata"] = kept["pod"]["metadata"]
    return kept


def _pod_facts(kept: Raw) -> Any:
    return kept["usage"], without_version(kept["pod"]) if "pod" in kept else None


def _keep_policy(raw: Raw) -> Raw:
    """Keep of a policy of others whom it selects and whether it opens anything; anybody may write long ones."""
    kept = project_object(raw)
    return kept if is_marked(kept) else sketch_policy(kept)


def _build_store(resource: Resource) -> Store:
    if resource == NETWORK_POLICIES:
        return Store(resource, project=_keep_policy, facts=without_version)
    if resource == NODES:
        return Store(resource, project=_keep_node, facts=lambda kept: kept["node"])
    if resource == PODS:
        return Store(resource, project=_keep_pod, facts=_pod_facts)
    if resource == NAMESPACES:
        return Store(resource, project=project_namespace, facts=without_version)
    project = project_quiet_object if resource == DISRUPTION_BUDGETS else project_object
    return Store(resource, project=project, facts=without_version)


class Cluster:
    """Everything the watches have shown."""

    def __init__(self) -> None:
        self.stores: dict[Resource, Store] = {resource: _build_store(resource) for resource in WATCHED}
        self.owners = OwnerIndex()
        self._foreign: dict[str, dict[str, Raw]] = {}
        self._pods_of: dict[tuple[str, str], set[str]] = {}
        self._usage: dict[tuple[str, str], PodUsage] = {}
        self._depot_pods: set[tuple[str, str]] = set()
        self._snapshot: Snapshot | None = None
        self._nodes_differ = True
        self._usage_differs = True
        self._snapshot_at = 0.0
        self._last_depot_ip = ""

    def note(self, change: Change | None) -> Change | None:
        """Keep the indexes up with a change of a store; returns it, for those who route it."""
        if change is None:
            return None
        if change.resource == NODES:
            self._nodes_differ = True
        elif change.resource == PODS:
            self._note_pod(change)
        elif change.resource in CHILD_KINDS:
            self.owners.note(change)
            if change.resource == NETWORK_POLICIES:
                self._note_policy(change)
        return change

    def child(self, resource: Resource, namespace: str, name: str) -> Raw | None:
        """Return a child as the watch or our own last write showed it."""
        return self.stores[resource].get((namespace, name))

    def children_of(self, uid: str) -> list[tuple[Resource, Raw]]:
        """Return everything that is owned by this uid."""
        found = ((resource, self.stores[resource].get(name)) for resource, name in self.owners.children_of(uid))
        return [(resource, live) for resource, live in found if live is not None]

    def foreign_policies(self, namespace: str) -> tuple[Raw, ...]:
        """Return the NetworkPolicies of a namespace that are not ours, sorted by name."""
        return tuple(policy for _, policy in sorted(self._foreign.get(namespace, {}).items()))

    def pods_of(self, namespace: str, service: str) -> tuple[Raw, ...]:
        """Return the pods of a service, sorted by name."""
        return self._show_pods((namespace, name) for name in self._pods_of.get((namespace, service), ()))

    def depot_pod_ip(self, namespace: str) -> str:
        """Return the address of a depot's pod; the last known while there is none: its restart changes nothing."""
        pods = self._show_pods(name for name in self._depot_pods if name[0] == namespace)
        staying = (pod for pod in pods if not pod["metadata"].get("deletionTimestamp"))
        ips = ((pod.get("status") or {}).get("podIP", "") for pod in staying)
        known = [ip for ip in ips if ip]
        if self._last_depot_ip not in known and known:
            self._last_depot_ip = known[0]
        return self._last_depot_ip

    def _show_pods(self, names: Iterable[tuple[str, str]]) -> tuple[Raw, ...]:
        """Return pods by name, from the store: the times of proofs tick there without being news."""
        shown = (self.stores[PODS].get(name) for name in sorted(names))
        return tuple(kept["pod"] for kept in shown if kept is not None)

    def snapshot(self) -> Snapshot:
        """Return the nodes and what is free; what pods use may lag by half a second, so that bursts stay cheap."""
        now = time.monotonic()
        late = now - self._snapshot_at > USAGE_PATIENCE_SECONDS
        if self._snapshot is None or self._nodes_differ or (self._usage_differs and late):
            nodes: list[NodeFacts] = [kept["node"] for kept in self.stores[NODES]]
            self._snapshot = take_snapshot(nodes, list(self._usage.values()), previous=self._snapshot)
            self._nodes_differ = self._usage_differs = False
            self._snapshot_at = now
        return self._snapshot

    def _note_pod(self, change: Change) -> None:
        for kept, is_new in ((change.old, False), (change.new, True)):
            if kept is not None:
                self._index_pod(change.name, kept, add=is_new)
        usage = change.new["usage"] if change.new is not None else None
        if usage == self._usage.get(change.name):
            return
        self._usage_differs = True
        if usage is None:
            self._usage.pop(change.name, None)
        else:
            self._usage[change.name] = usage

    def _index_pod(self, name: tuple[str, str], kept: Raw, *, add: bool) -> None:
        pod = kept.get("pod")
        if pod is None:
            return
        labels = pod["metadata"].get("labels") or {}
        if labels.get(APP_NAME_LABEL) == APP_NAME and labels.get(COMPONENT_LABEL) == DEPOT_COMPONENT:
            (self._depot_pods.add if add else self._depot_pods.discard)(name)
        if service := labels.get(SERVICE_LABEL):
            members = self._pods_of.setdefault((name[0], service), set())
            (members.add if add else members.discard)(name[1])
            if not members:
                del self._pods_of[name[0], service]

    def _note_policy(self, change: Change) -> None:
        namespace, name = change.name
        policies = self._foreign.setdefault(namespace, {})
        _set(policies, name, change.new if change.new is not None and not is_marked(change.new) else None)
        if not policies:
            del self._foreign[namespace]


def is_marked(raw: Raw) -> bool:
    """Tell whether a NetworkPolicy is one of ours: by its labels, its name, and its owner or whose pods it selects.

    Labels alone would hide a policy that somebody else writes and that opens all pods. One that its service owns is put
    right whatever became of it, and the garbage collector takes one whose owner is made up.
    """
    meta = raw["metadata"]
    labels = meta.get("labels") or {}
    service = labels.get(SERVICE_LABEL)
    if labels.get(MANAGED_BY_LABEL) != MANAGED_BY or not service or meta["name"] != name_child(service):
        return False
    owners = meta.get("ownerReferences") or ()
    if any((item.get("kind"), item.get("name")) == (INFERENCE_SERVICES.kind, service) for item in owners):
        return True
    return bool((raw.get("spec") or {}).get("podSelector") == {"matchLabels": selector_labels(service)})


def names_of(raws: Iterable[Raw]) -> list[tuple[str, str]]:
    """Return namespace and name of each."""
    return [name_of(raw) for raw in raws]


def _set(target: dict[str, Raw], key: str, value: Raw | None) -> None:
    if value is None:
        target.pop(key, None)
    else:
        target[key] = value
