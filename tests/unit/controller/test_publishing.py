"""A status beside another writer: what the depot wrote is neither compared nor written, and its news is passed on."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from sekisho.controller.announce import render_event
from sekisho.controller.cluster import Cluster
from sekisho.controller.publishing import Publisher
from sekisho.controller.store import Change
from sekisho.kube.resources import MODELS
from sekisho.plan.conditions import Announcement
from tests.unit.controller.api_server import answering

STATUS = {"observedGeneration": 1, "conditions": []}


def model(version: int, **status: Any) -> dict[str, Any]:
    meta = {"namespace": "a", "name": "m", "uid": "u", "resourceVersion": str(version), "generation": 1}
    return {"metadata": meta, "spec": {}, "status": status}


@dataclass
class Rig:
    """A publisher, an API server that answers with `stored`, and what was routed."""

    cluster: Cluster = field(default_factory=Cluster)
    routed: list[Change] = field(default_factory=list)
    applied: list[dict[str, Any]] = field(default_factory=list)
    stored: dict[str, Any] = field(default_factory=dict)
    publisher: Publisher | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if body["kind"] == "Event":
            self.events.append(body)
            return web.json_response({"message": self.refusal}, status=403 if self.refusal else 201)
        self.applied.append(body)
        return web.json_response(self.stored)

    async def publish(self, raw: dict[str, Any], status: dict[str, Any]) -> bool:
        assert self.publisher is not None
        self.cluster.stores[MODELS].put(raw)
        return await self.publisher.publish(MODELS, raw, status)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    async with answering(made.answer) as client:
        made.publisher = Publisher(client, made.cluster, instance="test", route=made.routed.append)
        yield made


@pytest.mark.parametrize("part", ["inspection", "key", "demand"])
async def test_what_others_say_is_no_difference(rig: Rig, part: str) -> None:
    assert not await rig.publish(model(1, **STATUS, **{part: {"said": "x"}}), STATUS)
    assert rig.applied == []


async def test_what_the_depot_wrote_is_not_written(rig: Rig) -> None:
    rig.stored = model(2, **STATUS, inspection={"sealed": True})
    assert await rig.publish(model(1, inspection={"sealed": True}), STATUS)
    assert rig.applied[0]["status"] == STATUS
    assert rig.routed == []
    assert not await rig.publish(rig.stored, STATUS)


async def test_what_the_depot_wrote_meanwhile_wakes_whom_it_concerns(rig: Rig) -> None:
    rig.stored = model(3, **STATUS, inspection={"sealed": True})
    assert await rig.publish(model(1), STATUS)
    assert [change.name for change in rig.routed] == [("a", "m")]


async def test_an_event_that_is_refused_keeps_no_status_back(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.stored, rig.refusal = model(2, **STATUS), "exceeded quota: events"
    told = Announcement("Warning", "NoSite", "nowhere")
    raw = model(1)
    rig.cluster.stores[MODELS].put(raw)
    assert rig.publisher is not None
    assert await rig.publisher.publish(MODELS, raw, STATUS, announcements=(told,))
    assert (len(rig.events), rig.applied[0]["status"]) == (1, STATUS)
    assert [record.message for record in caplog.records] == ["an event is refused"]
    assert vars(caplog.records[0])["detail"] == "exceeded quota: events"


@pytest.mark.parametrize("text", ["x" * 2000, "x" * 1023 + "…", "\u95a2\u6240" * 400])
def test_the_note_of_an_event_is_as_short_as_the_api_server_counts(text: str) -> None:
    told = Announcement("Warning", "NoSite", text)
    event = render_event(told, MODELS, model(1), instance="test", at=datetime.now(UTC))
    assert len(event["note"].encode()) <= 1024
    assert text.startswith(event["note"])
    assert len(event["note"].encode()) > 1024 - len(text[-1].encode())
