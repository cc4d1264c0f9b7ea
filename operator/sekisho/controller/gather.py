"""Put the facts together that a plan is made from; nothing is decided and nothing is asked of the API server here."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from sekisho.api.names import DEFAULT_POLICY_NAME, name_child
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec
from sekisho.controller.cluster import Cluster
from sekisho.controller.reading import Reader
from sekisho.controller.settings import Settings
from sekisho.controller.store import owners_of, version_of
from sekisho.controller.versions import VersionLedger
from sekisho.errors import Rejection
from sekisho.kube.inventory import is_owned
from sekisho.kube.resources import (
    CHILD_KINDS,
    DATA_GRANTS,
    EVIDENCE_POLICIES,
    KEY_RELEASE_POLICIES,
    MODELS,
    NAMESPACES,
    NODES,
    POLICIES,
    RUNTIMES,
    SITES,
)
from sekisho.plan.grants import names_workload
from sekisho.plan.world import (
    AccessWorld,
    DataGrantObject,
    GrantWorld,
    KeyReleaseObject,
    ModelObject,
    ServiceObject,
    World,
)
from sekisho.render.settings import RenderSettings

Raw = Mapping[str, Any]
# Beside namespace, Model and pods of a service, which are looked at one by one.
_LAW: Final = (POLICIES, SITES, RUNTIMES, NODES, EVIDENCE_POLICIES, KEY_RELEASE_POLICIES, DATA_GRANTS)


class Gatherer:
    """Builds the World of one service from the stores.

    Attributes:
        depot_host: Cluster IP of the depot's Service; empty until it is known.
        canary_host: Cluster IP of the Service in front of the depots' canaries, where there is a depot on each node.
        release_host: Cluster IP of the Service that releases keys; empty where there is none, or until it is known.
        attester_host: The same of the nodes' attesters.
        ca_pem: The CA that signs depot and gateway; empty until it is known.
    """

    def __init__(
        self, cluster: Cluster, reader: Reader, settings: Settings, *, ledger: VersionLedger,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.depot_host = settings.depot_host
        self.canary_host = settings.canary_host
        self.release_host = settings.release_host
        self.attester_host = settings.attester_host
        self.ca_pem = ""
        self._cluster = cluster
        self._reader = reader
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._rendered: tuple[tuple[str, str, str, str, str], RenderSettings] | None = None

    def world_of(self, obj: ServiceObject) -> World:
        """Gather everything that the plan of this service may depend on."""
        cluster, reader = self._cluster, self._reader
        namespace = cluster.stores[NAMESPACES].get(("", obj.namespace))
        children = self._children_of(obj)
        return World(
            policy=self.policy(),
            namespace_labels=namespace["metadata"]["labels"] if namespace else {},
            model=self._model_of(obj),
            runtimes={
                item.name: item.spec
                for item in map(reader.runtime, cluster.stores[RUNTIMES])
                if not isinstance(item.spec, Rejection)
            },
            sites={
                item.name: item.spec
                for item in map(reader.site, cluster.stores[SITES])
                if not isinstance(item.spec, Rejection)
            },
            snapshot=cluster.snapshot().without(obj.namespace, obj.name),
            children=children,
            network_policies=self._foreign_to(obj),
            pods=cluster.pods_of(obj.namespace, obj.name),
            settings=self.render_settings(),
            now_at=self._clock(),
            replica_failures=read_replica_failures(children.get("Deployment")),
            owners=self._owners_of(obj),
            tenants=self._tenants_of(obj),
        )

    def mark_of(self, obj: ServiceObject) -> tuple[object, ...]:
        """Return what differs once anything but the use of nodes is known that could make another plan of a service."""
        cluster, stores = self._cluster, self._cluster.stores
        model = model_name_of(obj.spec)
        raws = (stores[NAMESPACES].get(("", obj.namespace)), stores[MODELS].get((obj.namespace, model)))
        return (
            *(stores[resource].shown_version for resource in _LAW),
            *(version_of(raw) if raw is not None else None for raw in raws),
            self._ledger.of(obj.namespace),
            cluster.foreign_policies(obj.namespace),
            cluster.pods_of(obj.namespace, obj.name),
            self.render_settings(),
        )

    def grant_world(self) -> GrantWorld:
        """Gather everything that the statuses of evidence policies, key releases and data grants may depend on."""
        stores, reader = self._cluster.stores, self._reader
        return GrantWorld(
            policy=self.policy(),
            evidence={
                item.name: item.spec
                for item in map(reader.evidence_policy, stores[EVIDENCE_POLICIES])
                if not isinstance(item.spec, Rejection)
            },
            owners=tuple(map(reader.key_release, stores[KEY_RELEASE_POLICIES])),
            tenants=tuple(map(reader.data_grant, stores[DATA_GRANTS])),
            now_at=self._clock(),
        )

    def access_world(self) -> AccessWorld:
        """Gather everything that the status of an AccessPolicy may depend on."""
        return AccessWorld(
            policy=self.policy(),
            sites=frozenset(name for _, name in self._cluster.stores[SITES].names()),
            system_namespace=self.render_settings().system_namespace,
            now_at=self._clock(),
        )

    def policy(self) -> ClassificationPolicySpec | Rejection | None:
        """Return the policy in force."""
        raw = self._cluster.stores[POLICIES].get(("", DEFAULT_POLICY_NAME))
        return self._reader.policy(raw).spec if raw is not None else None

    def render_settings(self) -> RenderSettings:
        """Return the installation's settings with what is known of the cluster by now."""
        canary = self.canary_host if self._settings.depot_per_node else self.depot_pod_ip()
        known = (self.depot_host, self.release_host, self.attester_host, canary, self.ca_pem)
        if self._rendered is None or self._rendered[0] != known:
            rendered = self._settings.render_settings(
                depot_host=self.depot_host, canary_host=canary, ca_pem=self.ca_pem, release_host=self.release_host,
                attester_host=self.attester_host,
            )  # fmt: skip
            self._rendered = (known, rendered)
        return self._rendered[1]

    def _owners_of(self, obj: ServiceObject) -> tuple[KeyReleaseObject, ...]:
        items = map(self._reader.key_release, self._cluster.stores[KEY_RELEASE_POLICIES])
        return tuple(
            item
            for item in items
            if not isinstance(item.spec, Rejection) and names_workload(item.spec, obj.namespace, obj.name)
        )

    def _tenants_of(self, obj: ServiceObject) -> tuple[DataGrantObject, ...]:
        items = map(self._reader.data_grant, self._cluster.stores[DATA_GRANTS])
        return tuple(
            item
            for item in items
            if item.namespace == obj.namespace
            and not isinstance(item.spec, Rejection)
            and obj.name in item.spec.services
        )

    def depot_pod_ip(self) -> str:
        """Return the address of the one depot's pod; empty where there is one on each node, and none stands for all."""
        if self._settings.depot_per_node:
            return ""
        return self._cluster.depot_pod_ip(self._settings.namespace)

    def _children_of(self, obj: ServiceObject) -> dict[str, Raw]:
        name, found = name_child(obj.name), {}
        for resource in CHILD_KINDS:
            live = self._cluster.child(resource, obj.namespace, name)
            if live is not None and is_owned(live, obj.uid):
                found[resource.kind] = live
        return found

    def _foreign_to(self, obj: ServiceObject) -> tuple[Raw, ...]:
        """Return the policies of others; the service's own is put right, though a hand took its labels away."""
        own = name_child(obj.name)
        policies = self._cluster.foreign_policies(obj.namespace)
        return tuple(raw for raw in policies if raw["metadata"]["name"] != own or obj.uid not in owners_of(raw))

    def _model_of(self, obj: ServiceObject) -> ModelObject | None:
        name = model_name_of(obj.spec)
        raw = self._cluster.stores[MODELS].get((obj.namespace, name)) if name else None
        return self.model(raw) if raw is not None else None

    def model(self, raw: Raw) -> ModelObject:
        """Read a Model, with what its namespace has accepted."""
        obj = self._reader.model(raw)
        return replace(obj, versions=self._ledger.of(obj.namespace))


def model_name_of(spec: InferenceServiceSpec | Rejection) -> str:
    """Return the name of the Model that a service refers to; empty where it names none."""
    if isinstance(spec, Rejection) or spec.predictor.model.model_ref is None:
        return ""
    return spec.predictor.model.model_ref.name


def read_replica_failures(deployment: Raw | None) -> tuple[str, ...]:
    """Return why the last pods could not be created, as the Deployment's own condition says."""
    conditions = ((deployment or {}).get("status") or {}).get("conditions") or ()
    return tuple(
        str(item.get("message", ""))
        for item in conditions
        if item.get("type") == "ReplicaFailure" and item.get("status") == "True"
    )
