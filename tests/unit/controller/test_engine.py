"""What the controller as a whole makes of what its watches tell."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from sekisho.api.names import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL
from sekisho.controller.engine import Controller
from sekisho.controller.settings import Settings
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.resources import CONFIG_MAPS, INFERENCE_SERVICES


@pytest.fixture
async def controller() -> AsyncIterator[Controller]:
    credentials = Credentials(server="http://127.0.0.1:1")
    made = Controller(
        Settings(agent_image="a:1", settle_seconds=0),
        credentials,
        KubeClient(credentials, process="test"),
        NoOpMeter("x"),
    )
    made.router.open()
    yield made
    made.router.close()


def build_child(version: int) -> dict[str, Any]:
    labels = {MANAGED_BY_LABEL: MANAGED_BY, SERVICE_LABEL: "chat"}
    owner = {"apiVersion": "inference.sekisho.dev/v1alpha1", "kind": "InferenceService", "name": "chat", "uid": "u1"}
    meta = {"namespace": "a", "name": "chat-predictor", "uid": "u2", "resourceVersion": str(version)}
    return {"metadata": {**meta, "labels": labels, "ownerReferences": [owner]}, "data": {}}


async def test_a_child_that_a_new_list_lacks_is_gone_and_its_service_is_looked_at(controller: Controller) -> None:
    name = ("a", "chat-predictor")
    controller._shown(CONFIG_MAPS, None, build_child(5))
    await drain(controller)
    controller._reached(CONFIG_MAPS, 6, {name: 5})
    assert controller.cluster.stores[CONFIG_MAPS].get(name) is not None
    assert len(controller.queue) + controller.queue.delayed == 0
    controller._reached(CONFIG_MAPS, 7, {})
    assert controller.cluster.stores[CONFIG_MAPS].get(name) is None
    assert controller.cluster.children_of("u1") == []
    assert await drain(controller) == [(INFERENCE_SERVICES, ("a", "chat"))]


async def test_a_child_that_is_newer_than_the_list_stays(controller: Controller) -> None:
    controller._shown(CONFIG_MAPS, "ADDED", build_child(9))
    controller._reached(CONFIG_MAPS, 7, {})
    assert controller.cluster.stores[CONFIG_MAPS].get(("a", "chat-predictor")) is not None


async def test_a_bookmark_tells_nothing_but_that_the_watch_hears(controller: Controller) -> None:
    controller._shown(CONFIG_MAPS, "ADDED", build_child(5))
    await drain(controller)
    controller._reached(CONFIG_MAPS, 50, None)
    assert controller.cluster.stores[CONFIG_MAPS].shown_version == 50
    assert controller.cluster.stores[CONFIG_MAPS].get(("a", "chat-predictor")) is not None
    assert len(controller.queue) + controller.queue.delayed == 0


async def drain(controller: Controller) -> list[Any]:
    """Take everything that is to be looked at, and call it done."""
    taken = []
    while len(controller.queue):
        taken.append(await controller.queue.take())
        controller.queue.done(taken[-1])
    return taken
