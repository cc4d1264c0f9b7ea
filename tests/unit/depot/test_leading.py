"""Of several depots one works for all: who holds the lease, and nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sekisho.depot.leading import lead
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.lease import LeaderLease, LeaseTimes
from tests.unit.depot.parts import settle

TIMES = LeaseTimes(duration_seconds=2.4, deadline_seconds=1.6, retry_seconds=0.1)


@dataclass
class LeaseServer:
    """An API server with one Lease, which only who knows its version may replace."""

    lease: dict[str, Any] | None = None
    version: int = 0
    refuse: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.Response:
        who = request.headers["Authorization"].removeprefix("Bearer ")
        if who in self.refuse:
            return web.json_response({"kind": "Status", "message": "down"}, status=503)
        if request.method == "GET":
            return web.json_response(self.lease) if self.lease else web.json_response({}, status=404)
        sent = json.loads(await request.read())
        expected = (self.lease or {}).get("metadata", {}).get("resourceVersion")
        if sent["metadata"].get("resourceVersion") != expected:
            return web.json_response({"kind": "Status", "message": "conflict"}, status=409)
        self.version += 1
        sent["metadata"]["resourceVersion"] = str(self.version)
        self.lease = sent
        return web.json_response(sent)


@dataclass
class Depot:
    """One contender, and what it does while it leads."""

    client: KubeClient
    name: str
    began: int = 0
    works: bool = False
    fails: bool = False

    async def work(self) -> None:
        self.began += 1
        self.works = True
        try:
            if self.fails:
                raise ValueError("a mistake of ours")
            await asyncio.Event().wait()
        finally:
            self.works = False

    def contend(self) -> "asyncio.Task[None]":
        lease = LeaderLease(self.client, namespace="s", name="sekisho-depot", identity=self.name, times=TIMES)
        return asyncio.create_task(lead(lease, lambda: [self.work()]))


@asynccontextmanager
async def contenders(server: LeaseServer, *names: str) -> AsyncIterator[list[Depot]]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    clients = [KubeClient(Credentials(url, token=name), process="test") for name in names]
    try:
        for client in clients:
            await client.__aenter__()
        yield [Depot(client, name) for client, name in zip(clients, names, strict=True)]
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)
        await runner.cleanup()


async def end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.slow
async def test_one_works_and_the_other_begins_when_it_gives_up() -> None:
    async with contenders(LeaseServer(), "a", "b") as depots:
        tasks = [depot.contend() for depot in depots]
        await settle(lambda: any(depot.works for depot in depots))
        await asyncio.sleep(1.0)
        assert [depot.works for depot in depots].count(True) <= 1
        await settle(lambda: any(depot.works for depot in depots))
        first = next(index for index, depot in enumerate(depots) if depot.works)
        await end(tasks[first])
        assert not depots[first].works
        await settle(lambda: depots[1 - first].works)
        await end(*tasks)


@pytest.mark.slow
async def test_who_cannot_renew_the_lease_stops_working_before_another_begins_and_may_come_back() -> None:
    server = LeaseServer()
    async with contenders(server, "a", "b") as depots:
        tasks = [depots[0].contend()]
        await settle(lambda: depots[0].works)
        tasks.append(depots[1].contend())
        overlap = False
        server.refuse = {"a"}
        while not depots[1].works:
            overlap = overlap or (depots[0].works and depots[1].works)
            await asyncio.sleep(0.01)
        assert not overlap
        assert not depots[0].works
        server.refuse = {"b"}
        await settle(lambda: depots[0].works)
        assert depots[0].began >= 2
        await end(*tasks)


async def test_work_that_fails_is_told_and_the_lease_is_given_up() -> None:
    server = LeaseServer()
    async with contenders(server, "a") as (depot,):
        depot.fails = True
        with pytest.raises(ValueError, match="a mistake of ours"):
            await depot.contend()
        assert server.lease is not None
        assert server.lease["spec"]["holderIdentity"] == ""
