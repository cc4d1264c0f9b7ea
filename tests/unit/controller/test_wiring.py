"""kopf is the event pump of a few kinds and nothing else."""

from typing import Any

import pytest

from sekisho.controller import wiring
from sekisho.controller.cluster import FOLLOWED, PUMPED, SELECTORS, WATCHED, Cluster
from sekisho.controller.health import Health, HealthLimits
from sekisho.controller.main import limit
from sekisho.controller.queue import KeyQueue
from sekisho.controller.resync import Deafness, Resync
from sekisho.controller.routes import Key
from sekisho.controller.settings import Settings
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.resources import DEPLOYMENTS, NETWORK_POLICIES, PODS

SETTINGS = Settings(agent_image="agent:1")


def test_kopf_posts_nothing_keeps_nothing_and_bounds_its_streams() -> None:
    configured = wiring.configure(SETTINGS)
    assert configured.posting.enabled is False
    assert configured.peering.standalone is True
    assert configured.scanning.disabled is True
    assert configured.watching.server_timeout == SETTINGS.watch_server_seconds
    assert configured.watching.inactivity_timeout == SETTINGS.watch_inactivity_seconds
    storage: Any = configured.persistence.diffbase_storage
    assert storage.build(body={"spec": {}}, extra_fields=None) == {}
    assert storage.fetch(body={}) is None
    progress: Any = configured.persistence.progress_storage
    assert progress.fetch(key="k", body={}) is None
    assert progress.clear(essence={"a": 1}) == {"a": 1}


def test_pods_and_children_change_too_often_for_kopf() -> None:
    assert sorted(WATCHED, key=str) == sorted((*PUMPED, *FOLLOWED), key=str)
    registry = wiring.register(Credentials("https://x"), lambda *_: None)
    pumped = {str(handler.selector.any_name or handler.selector.plural) for handler in handlers_of(registry)}
    assert pumped == {resource.plural for resource in PUMPED}
    assert not pumped & {"pods", "deployments"}


def test_one_worker_has_connections_beside_all_watches() -> None:
    assert limit(Settings(agent_image="agent:1", workers=1)).connections >= len(FOLLOWED) + 4


def handlers_of(registry: Any) -> Any:
    return registry._watching.get_all_handlers()


def test_only_our_own_children_are_watched_by_the_server() -> None:
    assert SELECTORS[DEPLOYMENTS] == "app.kubernetes.io/managed-by=sekisho,sekisho.dev/service"
    assert not {NETWORK_POLICIES, PODS} & set(SELECTORS)


def test_credentials_are_handed_over_as_kopf_wants_them() -> None:
    info = wiring.connect(Credentials("https://x", ca_pem="pem", token="t"))
    assert (info.server, info.token, info.ca_data) == ("https://x", "t", "cGVt")


@pytest.fixture
def health() -> Health:
    cluster, queue = Cluster(), KeyQueue[Key]()
    client = KubeClient(Credentials("http://127.0.0.1:1"), process="test")
    resync = Resync(client, cluster, lambda _: None, deaf_seconds=1)
    return Health(cluster, queue, resync, HealthLimits(stuck_seconds=10, lease_seconds=15), leading=True)


async def test_a_standby_is_ready_and_a_leader_only_once_it_knows_everything(health: Health) -> None:
    health.began_at = float("inf")
    assert not health.is_ready()
    health.resync.synced.set()
    assert health.is_ready()
    health.leading = False
    health.resync.synced.clear()
    assert health.is_ready()


async def test_what_is_broken_is_told_with_its_numbers(health: Health) -> None:
    health.resync.synced.set()
    assert health.problems() == []
    health.resync.deaf[PODS] = Deafness(since=0.0, version=1)
    health.lease_age = lambda: 99.0
    assert any("the watch of pods has been deaf for" in problem for problem in health.problems())
    assert "the lease was not renewed for 99 s, 15 s allowed" in health.problems()
    assert health.describe()["watches"]["pods"]["objects"] == 0
    assert not health.is_ready()


async def test_a_worker_that_never_ends_is_a_problem() -> None:
    now = [0.0]
    queue: KeyQueue[Key] = KeyQueue(clock=lambda: now[0])
    cluster = Cluster()
    client = KubeClient(Credentials("http://127.0.0.1:1"), process="test")
    resync = Resync(client, cluster, lambda _: None, deaf_seconds=1)
    resync.synced.set()
    health = Health(cluster, queue, resync, HealthLimits(stuck_seconds=10, lease_seconds=15), leading=True)
    queue.add((PODS, ("a", "b")))
    await queue.take()
    queue.add((PODS, ("a", "c")))
    now[0] = 11.0
    assert "a worker has been busy for 11 s, 10 s allowed" in health.problems()
    assert "an object has waited for 11 s, 10 s allowed" in health.problems()
