"""The ledger of accepted versions: written before it counts, read back whole, bounded, and lowered by nobody."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sekisho.controller import versions
from sekisho.controller.versions import VersionLedger
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.plan.versions import Accepted, Versions
from tests.unit.controller.api_server import answering

SYSTEM = "sekisho-system"
SEVEN = Accepted("legal/reviewer", ("board", "release"), 7)


@dataclass
class Server:
    """An API server that keeps ConfigMaps as they are applied."""

    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    applied: int = 0
    status: int = 0
    outrun: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        if self.status:
            return web.json_response({"kind": "Status", "code": self.status, "message": "no"}, status=self.status)
        if request.method == "GET" and request.path.rpartition("/")[2] in self.stored:
            return web.json_response(self.stored[request.path.rpartition("/")[2]])
        if request.method == "GET":
            assert request.query["labelSelector"] == "sekisho.dev/versions=accepted"
            assert request.path == f"/api/v1/namespaces/{SYSTEM}/configmaps"
            items = [self.stored[name] for name in sorted(self.stored)]
            return web.json_response({"items": items, "metadata": {"resourceVersion": "1"}})
        assert request.method == "PATCH"
        manifest = json.loads(await request.read())
        return self.put(manifest)

    def put(self, manifest: dict[str, Any]) -> web.Response:
        """Keep it, as an API server does: only where it builds on what is there, or nothing is there."""
        name, wanted = manifest["metadata"]["name"], manifest["metadata"]["resourceVersion"]
        if self.outrun:
            self.stored[name]["metadata"]["resourceVersion"] += "0"
        if name in self.stored and self.stored[name]["metadata"]["resourceVersion"] != wanted:
            return web.json_response({"kind": "Status", "code": 409, "message": "it was changed"}, status=409)
        self.applied += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(100 + self.applied)}
        self.stored[name] = {**manifest, "metadata": metadata}
        return web.json_response(self.stored[name])

    def versions(self) -> dict[str, int]:
        """Return the versions that are stored, by namespace."""
        entries = (json.loads(text) for item in self.stored.values() for text in item["data"].values())
        return {entry["namespace"]: entry["version"] for entry in entries}

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[VersionLedger]:
        """Start a ledger as another leader would."""
        async with answering(self.answer) as client:
            made = VersionLedger(client, SYSTEM)
            await made.load()
            yield made


async def test_what_was_noted_is_known_to_the_next_leader() -> None:
    server = Server()
    async with server.ledger() as ledger:
        assert ledger.of("legal") == Versions({})
        await ledger.note("legal", SEVEN)
        known = ledger.of("legal")
        assert known.highest == {("legal/reviewer", "board"): 7, ("legal/reviewer", "release"): 7}
    async with server.ledger() as ledger:
        assert ledger.of("legal") == known
        assert ledger.of("other") == Versions({})


async def test_a_lower_version_and_the_same_again_write_nothing() -> None:
    server = Server()
    async with server.ledger() as ledger:
        await ledger.note("legal", SEVEN)
        writes = server.applied
        await ledger.note("legal", SEVEN)
        await ledger.note("legal", Accepted("legal/reviewer", ("release",), 3))
        assert server.applied == writes
        assert ledger.of("legal").highest["legal/reviewer", "release"] == 7


async def test_namespaces_do_not_see_each_other() -> None:
    async with Server().ledger() as ledger:
        await ledger.note("legal", SEVEN)
        await ledger.note("other", Accepted("legal/reviewer", ("release",), 2))
        assert ledger.of("other").highest == {("legal/reviewer", "release"): 2}
        assert ledger.of("legal").highest["legal/reviewer", "release"] == 7


@pytest.mark.parametrize("status", [500, 403])
async def test_what_cannot_be_written_does_not_count(status: int) -> None:
    server = Server()
    async with server.ledger() as ledger:
        server.status = status
        with pytest.raises((UnavailableError, RefusedError)):
            await ledger.note("legal", SEVEN)
        assert ledger.of("legal") == Versions({})
        server.status = 0
        await ledger.note("legal", SEVEN)
        assert ledger.of("legal").highest


async def test_a_ledger_that_cannot_be_read_is_none() -> None:
    server = Server(status=500)
    with pytest.raises(UnavailableError):
        async with server.ledger():
            pass


async def test_a_full_ledger_refuses_what_is_new_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MAX_ENTRIES", 2)
    monkeypatch.setattr(versions, "SHARDS", 1)
    async with Server().ledger() as ledger:
        await ledger.note("legal", SEVEN)
        with pytest.raises(RefusedError) as caught:
            await ledger.note("legal", Accepted("legal/other", ("release",), 1))
        assert caught.value.reason is Reason.RECORD_UNAVAILABLE
        assert "sekisho-accepted-versions-0 holds 2 entries, its most; remove those of namespaces that are gone" in (
            caught.value.message
        )
        await ledger.note("legal", Accepted("legal/reviewer", ("release",), 9))
        assert ledger.of("legal").highest["legal/reviewer", "release"] == 9


async def test_entries_that_cannot_be_read_or_stand_under_another_name_do_not_count() -> None:
    server = Server()
    async with server.ledger() as ledger:
        await ledger.note("legal", SEVEN)
    (name, manifest), *_ = server.stored.items()
    key, text = next(iter(manifest["data"].items()))
    entry = json.loads(text)
    manifest["data"] |= {
        "0" * 40: text,
        "a": "not json",
        "b": json.dumps([1]),
        "c": json.dumps({**entry, "version": 0}),
        "d": json.dumps({**entry, "version": True}),
        "e": json.dumps({**entry, "model": 7}),
        "f": json.dumps({**entry, "more": 1}),
        "g": json.dumps({key: value for key, value in entry.items() if key != "signer"}),
    }
    async with server.ledger() as ledger:
        assert sorted(ledger.of("legal").highest.values()) == [7, 7]
        assert key in server.stored[name]["data"]


async def test_what_an_administrator_removed_is_written_again_while_the_leader_knows_it() -> None:
    server = Server()
    async with server.ledger() as ledger:
        await ledger.note("legal", Accepted("legal/reviewer", ("release",), 7))
        server.stored.clear()
        await ledger.note("legal", Accepted("legal/reviewer", ("release",), 8))
        ((_, manifest),) = server.stored.items()
        assert [json.loads(text)["version"] for text in manifest["data"].values()] == [8]
        assert manifest["metadata"]["namespace"] == SYSTEM


def one(version: int) -> Accepted:
    return Accepted("legal/reviewer", ("release",), version)


async def test_a_write_that_builds_on_what_was_there_before_takes_nothing_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "SHARDS", 1)
    server = Server()
    async with server.ledger() as first, server.ledger() as second:
        await first.note("a", one(7))  # what the other had not seen when it was made
        await second.note("b", one(3))
        assert server.versions() == {"a": 7, "b": 3}
        assert second.of("a").highest == {("legal/reviewer", "release"): 7}
        await first.note("c", one(1))
        assert server.versions() == {"a": 7, "b": 3, "c": 1}


async def test_a_lower_version_that_is_written_late_lowers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "SHARDS", 1)
    server = Server()
    async with server.ledger() as first, server.ledger() as second:
        await first.note("a", one(7))
        await second.note("a", one(6))
        assert server.versions() == {"a": 7}
        assert second.of("a").highest == {("legal/reviewer", "release"): 7}


async def test_who_is_outrun_again_and_again_remembers_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "SHARDS", 1)
    server = Server()
    async with server.ledger() as ledger:
        await ledger.note("a", one(7))
        server.outrun = True
        with pytest.raises(UnavailableError):
            await ledger.note("b", one(3))
        assert ledger.of("b") == Versions({})
        server.outrun = False
        await ledger.note("b", one(3))
        assert server.versions() == {"a": 7, "b": 3}
