"""What a plan is made from, put together from the stores: the grants of a service, and of everybody."""

from typing import Any

import pytest

from sekisho.controller.cluster import Cluster
from sekisho.controller.facts import FactsLoop
from sekisho.controller.gather import Gatherer
from sekisho.controller.reading import Reader
from sekisho.controller.settings import Settings
from sekisho.controller.versions import VersionLedger
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.resources import (
    DATA_GRANTS,
    EVIDENCE_POLICIES,
    INFERENCE_SERVICES,
    KEY_RELEASE_POLICIES,
    NETWORK_POLICIES,
    Resource,
)
from tests.unit.api.cases import EVIDENCE, GRANT, IMAGE, RELEASE, SERVICE

LEDGER = VersionLedger(KubeClient(Credentials("http://127.0.0.1:1"), process="test"), "system")  # asked for nothing
SETTINGS = Settings(namespace="system", agent_image="sekisho.local/agent:1")


class Stores:
    """Stores with objects in them."""

    def __init__(self) -> None:
        self.cluster, self.reader = Cluster(), Reader()
        self.gatherer = Gatherer(self.cluster, self.reader, SETTINGS, ledger=LEDGER, clock=lambda: 1.8e9)
        self.version = 0

    def put(self, resource: Resource, name: str, spec: Any, *, namespace: str = "") -> dict[str, Any]:
        self.version += 1
        meta = {"name": name, "uid": f"{namespace}/{name}", "resourceVersion": str(self.version), "generation": 1}
        raw = {"metadata": {**meta, **({"namespace": namespace} if namespace else {})}, "spec": spec}
        self.cluster.note(self.cluster.stores[resource].put(raw))
        return raw


@pytest.fixture
def stores() -> Stores:
    made = Stores()
    elsewhere = {**RELEASE, "workloads": [{"namespace": "web", "service": "chat", "images": [IMAGE]}]}
    made.put(EVIDENCE_POLICIES, "genoa", EVIDENCE)
    made.put(EVIDENCE_POLICIES, "broken", {})
    made.put(KEY_RELEASE_POLICIES, "ours", RELEASE, namespace="model-owners")
    made.put(KEY_RELEASE_POLICIES, "elsewhere", elsewhere, namespace="model-owners")
    made.put(KEY_RELEASE_POLICIES, "broken", {}, namespace="model-owners")
    made.put(DATA_GRANTS, "ours", GRANT, namespace="legal")
    made.put(DATA_GRANTS, "other", {**GRANT, "services": ["other"]}, namespace="legal")
    made.put(DATA_GRANTS, "elsewhere", GRANT, namespace="web")
    made.put(DATA_GRANTS, "broken", {}, namespace="legal")
    return made


def test_a_service_sees_the_grants_that_name_it(stores: Stores) -> None:
    service = stores.reader.service(stores.put(INFERENCE_SERVICES, "chat", SERVICE, namespace="legal"))
    world = stores.gatherer.world_of(service)
    assert [item.full_name for item in world.owners] == ["model-owners/ours"]
    assert [item.full_name for item in world.tenants] == ["legal/ours"]


def test_the_status_of_a_grant_sees_all_grants_and_the_evidence_policies_that_can_be_read(stores: Stores) -> None:
    world = stores.gatherer.grant_world()
    assert set(world.evidence) == {"genoa"}
    assert len(world.owners) == 3
    assert len(world.tenants) == 4
    assert (world.policy, world.now_at) == (None, 1.8e9)


def test_a_services_own_policy_is_no_other_ones_though_its_labels_are_gone(stores: Stores) -> None:
    service = stores.reader.service(stores.put(INFERENCE_SERVICES, "chat", SERVICE, namespace="legal"))
    for name, owner in (("chat-predictor", service.uid), ("other", service.uid)):
        raw = stores.put(NETWORK_POLICIES, name, {"podSelector": {}}, namespace="legal")
        raw["metadata"] |= {"ownerReferences": [{"kind": "InferenceService", "uid": owner}], "resourceVersion": "99"}
        stores.cluster.note(stores.cluster.stores[NETWORK_POLICIES].put(raw))
    assert [item["metadata"]["name"] for item in stores.gatherer.world_of(service).network_policies] == ["other"]
    stranger = {**raw, "metadata": {**raw["metadata"], "name": "chat-predictor", "ownerReferences": []}}
    stranger["metadata"]["resourceVersion"] = "100"
    stores.cluster.note(stores.cluster.stores[NETWORK_POLICIES].put(stranger))
    assert len(stores.gatherer.world_of(service).network_policies) == 2


class Told:
    """Keeps what would be published."""

    def __init__(self) -> None:
        self.statuses: dict[str, Any] = {}

    async def publish(self, resource: Resource, raw: Any, status: Any, *, announcements: Any = ()) -> bool:
        self.statuses[f"{resource.kind} {raw['metadata']['name']}"] = status
        return True


async def test_every_kind_of_grant_gets_its_status(stores: Stores) -> None:
    told = Told()
    loop = FactsLoop(
        stores.cluster, stores.gatherer, told, stores.reader, ledger=LEDGER, wake_namespace=lambda _: None  # type: ignore[arg-type]
    )  # fmt: skip
    owner, tenant = ("model-owners", "ours"), ("legal", "ours")
    for resource, name in ((EVIDENCE_POLICIES, ("", "genoa")), (KEY_RELEASE_POLICIES, owner), (DATA_GRANTS, tenant)):
        assert (await loop.reconcile(resource, name)).writes == 1
    assert told.statuses["EvidencePolicy genoa"]["policies"] == 2
    reasons = [
        condition["reason"]
        for kind in ("KeyReleasePolicy ours", "DataGrant ours")
        for condition in told.statuses[kind]["conditions"]
        if condition["type"] == "Ready"
    ]
    assert reasons == ["GrantExpired", "PolicyMissing"]


async def test_a_grant_that_is_being_deleted_counts_no_more_and_says_so(stores: Stores) -> None:
    service = stores.reader.service(stores.put(INFERENCE_SERVICES, "chat", SERVICE, namespace="legal"))
    told = Told()
    loop = FactsLoop(
        stores.cluster, stores.gatherer, told, stores.reader, ledger=LEDGER, wake_namespace=lambda _: None  # type: ignore[arg-type]
    )  # fmt: skip
    for resource, name in (
        (KEY_RELEASE_POLICIES, ("model-owners", "ours")),
        (DATA_GRANTS, ("legal", "ours")),
        (EVIDENCE_POLICIES, ("", "genoa")),
    ):
        raw = stores.cluster.stores[resource].get(name)
        assert raw is not None
        ending = {"deletionTimestamp": "2026-12-01T00:00:00Z", "resourceVersion": "99"}
        stores.cluster.note(stores.cluster.stores[resource].put({**raw, "metadata": {**raw["metadata"], **ending}}))
        await loop.reconcile(resource, name)
    world = stores.gatherer.world_of(service)
    assert (world.owners, world.tenants) == ((), ())
    assert stores.gatherer.grant_world().evidence == {}
    reasons = {status["conditions"][0]["reason"] for status in told.statuses.values()}
    assert (len(told.statuses), reasons) == (3, {"Terminating"})
