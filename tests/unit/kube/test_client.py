"""The client against a server that misbehaves in every way an API server can."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kube.client import ABSENT, ClientLimits, KubeClient
from sekisho.kube.credentials import Credentials, find_credentials, read_kubeconfig
from sekisho.kube.failures import ApiConflictError, ApiRefusedError, ApiUnavailableError
from sekisho.kube.pace import TokenBucket
from sekisho.kube.resources import CONFIG_MAPS, DEPLOYMENTS, NODES, SECRETS, resource_of

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIMITS = ClientLimits(request_seconds=60, connect_seconds=60, max_response_bytes=10_000, max_list_items=5)
MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "a"}, "data": {"k": "v"}}


class Server:
    """Answers every request by `answer`, and keeps them."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Answer = self._fine

    async def _fine(self, _: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": "x"}})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return await self.answer(request)

    def says(self, status: int, message: str = "no", **headers: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response({"message": message}, status=status, headers=headers)

        self.answer = answer


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield made, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def client(server: tuple[Server, str]) -> AsyncIterator[KubeClient]:
    async with KubeClient(Credentials(server[1], token="t0ken"), process="test", limits=LIMITS) as made:
        yield made


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_a_failing_server_is_unavailable_and_may_ask_for_a_pause(
    server: tuple[Server, str], client: KubeClient, status: int
) -> None:
    server[0].says(status, "too busy", **{"Retry-After": "7"})
    with pytest.raises(ApiUnavailableError, match="too busy") as caught:
        await client.get(CONFIG_MAPS, "x", namespace="a")
    assert (caught.value.reason, caught.value.retry, caught.value.after_seconds) == (Reason.API_UNAVAILABLE, True, 7.0)


@pytest.mark.parametrize("status", [400, 403, 405, 422])
async def test_a_refusal_carries_the_servers_message(
    server: tuple[Server, str], client: KubeClient, status: int
) -> None:
    server[0].says(status, "exceeded quota: gpus")
    with pytest.raises(ApiRefusedError, match="exceeded quota") as caught:
        await client.apply(MANIFEST)
    assert (caught.value.reason, caught.value.status, caught.value.retry) == (Reason.APPLY_REFUSED, status, False)


@pytest.mark.parametrize("status", [409, 410, 412])
async def test_a_conflict_can_be_tried_again(server: tuple[Server, str], client: KubeClient, status: int) -> None:
    server[0].says(status, "changed meanwhile")
    with pytest.raises(ApiConflictError, match="changed meanwhile"):
        await client.apply(MANIFEST)


async def test_what_the_server_says_of_a_secret_stays_out_of_the_error(
    server: tuple[Server, str], client: KubeClient
) -> None:
    server[0].says(422, "hunter22 is invalid")
    with pytest.raises(ApiRefusedError, match="status 422") as caught:
        await client.get(SECRETS, "x", namespace="a")
    assert "hunter22" not in caught.value.message


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with KubeClient(Credentials("http://127.0.0.1:1"), process="test", limits=LIMITS) as client:
        with pytest.raises(ApiUnavailableError, match="is not reachable"):
            await client.get(CONFIG_MAPS, "x", namespace="a")


async def test_a_silent_server_is_unavailable(server: tuple[Server, str]) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(600)
        return web.Response()

    server[0].answer = silent
    async with KubeClient(Credentials(server[1]), process="test", limits=replace(LIMITS, request_seconds=0.3)) as hasty:
        with pytest.raises(ApiUnavailableError, match="did not answer in time"):
            await hasty.get(CONFIG_MAPS, "x", namespace="a")


@pytest.mark.slow
async def test_after_a_silent_connection_no_other_old_one_is_used(server: tuple[Server, str]) -> None:
    peers: list[object] = []
    silent = False

    async def answer(request: web.Request) -> web.Response:
        peers.append(request.transport.get_extra_info("peername") if request.transport else None)
        if silent:
            await asyncio.sleep(600)
        await asyncio.sleep(0.05)
        return web.json_response({})

    server[0].answer = answer
    async with KubeClient(Credentials(server[1]), process="test", limits=replace(LIMITS, request_seconds=5)) as hasty:
        await asyncio.gather(*(hasty.get(NODES, f"n{index}") for index in range(3)))
        old = set(peers)
        silent = True
        with pytest.raises(ApiUnavailableError, match="did not answer in time"):
            await hasty.get(NODES, "n")
        silent = False
        peers.clear()
        await asyncio.gather(*(hasty.get(NODES, f"n{index}") for index in range(3)))
    assert len(old) == 3
    assert not old & set(peers)


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    server: tuple[Server, str], client: KubeClient
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x" * 1000)
        return response

    server[0].answer = endless
    with pytest.raises(ApiUnavailableError, match="longer than 10000 bytes"):
        await client.get(CONFIG_MAPS, "x", namespace="a")


@pytest.mark.parametrize("body", [b"not json", b"[1]"])
async def test_an_answer_that_is_no_object_is_unavailable(
    server: tuple[Server, str], client: KubeClient, body: bytes
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    server[0].answer = answer
    with pytest.raises(UnavailableError, match="is not"):
        await client.get(CONFIG_MAPS, "x", namespace="a")


async def test_what_is_not_there_is_none(server: tuple[Server, str], client: KubeClient) -> None:
    server[0].says(404)
    assert await client.get(CONFIG_MAPS, "x", namespace="a") is None
    assert await client.delete(CONFIG_MAPS, "x", namespace="a", uid="u") is False
    assert await client.is_served(DEPLOYMENTS) is False


async def test_an_apply_names_its_manager_and_carries_token_and_user_agent(
    server: tuple[Server, str], client: KubeClient
) -> None:
    await client.apply({**MANIFEST, "metadata": {**MANIFEST["metadata"], "resourceVersion": ABSENT}})  # type: ignore[dict-item]
    method, path, headers, body = server[0].requests[-1]
    assert method == "PATCH"
    assert path == "/api/v1/namespaces/a/configmaps/x?fieldManager=sekisho&force=true&fieldValidation=Ignore"
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert (headers["Authorization"], headers["User-Agent"]) == ("Bearer t0ken", "sekisho-test")
    assert json.loads(body)["metadata"]["resourceVersion"] == "1"


async def test_a_delete_is_bound_to_the_uid(server: tuple[Server, str], client: KubeClient) -> None:
    assert await client.delete(CONFIG_MAPS, "x", namespace="a", uid="u1") is True
    assert json.loads(server[0].requests[-1][3])["preconditions"] == {"uid": "u1"}


async def test_a_list_is_read_page_by_page_and_bounded(server: tuple[Server, str], client: KubeClient) -> None:
    async def pages(request: web.Request) -> web.Response:
        at = int(request.query.get("continue", "0"))
        meta = {"resourceVersion": "9"} | ({"continue": str(at + 1)} if at < 2 else {})
        item: dict[str, Any] = {"metadata": {"name": f"n{at}", "namespace": "a", "resourceVersion": str(at)}}
        return web.json_response({"metadata": meta, "items": [item]})

    server[0].answer = pages
    assert [item["metadata"]["name"] for item in await client.list_all(NODES)] == ["n0", "n1", "n2"]
    assert await client.list_versions(NODES) == ({("a", f"n{at}"): at for at in range(3)}, 9)

    async def endless(_: web.Request) -> web.Response:
        item = {"metadata": {"name": "n", "resourceVersion": "1"}}
        return web.json_response({"metadata": {"continue": "x"}, "items": [item] * 3})

    server[0].answer = endless
    with pytest.raises(ApiUnavailableError, match="more than 5 nodes"):
        await client.list_all(NODES)


async def test_a_list_of_objects_that_are_too_long_together_is_read_with_fewer_in_a_page(
    server: tuple[Server, str],
) -> None:
    asked: list[int] = []

    async def pages(request: web.Request) -> web.Response:
        at, most = int(request.query.get("continue", "0")), int(request.query["limit"])
        asked.append(most)
        items = [
            {"metadata": {"name": f"n{number}", "resourceVersion": "1"}, "data": "x" * 3000}
            for number in range(at, min(at + most, 5))
        ]
        meta = {"resourceVersion": "9"} | ({"continue": str(at + most)} if at + most < 5 else {})
        return web.json_response({"metadata": meta, "items": items})

    server[0].answer = pages
    limits = replace(LIMITS, page_items=20)
    async with KubeClient(Credentials(server[1], token="t"), process="test", limits=limits) as client:
        assert [item["metadata"]["name"] for item in await client.list_all(NODES)] == [f"n{at}" for at in range(5)]
        assert asked == [20, 2, 2, 2]
        assert len((await client.list_versions(NODES))[0]) == len((await client.list_at(NODES))[0]) == 5
    async with KubeClient(
        Credentials(server[1], token="t"), process="test", limits=replace(limits, max_response_bytes=2000)
    ) as client:
        with pytest.raises(ApiUnavailableError, match="longer than 2000 bytes"):
            await client.list_all(NODES)


async def test_a_refused_token_is_read_again_once(server: tuple[Server, str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")

    async def answer(request: web.Request) -> web.Response:
        fresh = request.headers["Authorization"] == "Bearer new"
        file.write_text("new")
        return web.json_response({"metadata": {}}, status=200 if fresh else 401)

    server[0].answer = answer
    async with KubeClient(Credentials(server[1], token_file=file), process="test", limits=LIMITS) as client:
        assert await client.get(NODES, "n") == {"metadata": {}}
    assert len(server[0].requests) == 2


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a b", "é", "a\n"])
def test_a_name_that_could_leave_its_path_is_not_sent(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of an object's path"):
        CONFIG_MAPS.path("a", name)


def test_a_kind_that_sekisho_does_not_write_is_refused() -> None:
    with pytest.raises(RefusedError, match="does not write ClusterRole"):
        resource_of({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"})


async def test_a_bucket_lets_a_burst_through_and_then_paces() -> None:
    bucket = TokenBucket(rate=100.0, burst=5)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(bucket.take() for _ in range(15)))
    assert loop.time() - began >= 0.09


async def test_a_kubeconfig_without_its_context_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("current-context: gone\ncontexts: []\n")
    with pytest.raises(RefusedError, match='no entry "gone" in contexts'):
        await read_kubeconfig(file)


async def test_without_any_credentials_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="set KUBECONFIG"):
        await find_credentials({"HOME": str(tmp_path)})


def test_credentials_do_not_show_their_secrets() -> None:
    shown = repr(Credentials("https://x", token="hunter22", key_pem="hunter22"))
    assert "hunter22" not in shown


async def test_who_applies_is_named_since_each_removes_what_it_leaves_out(
    server: tuple[Server, str], client: KubeClient
) -> None:
    await client.apply(MANIFEST)
    await client.apply(MANIFEST, subresource="status", manager="sekisho-depot")
    assert [request[1].partition("?")[2] for request in server[0].requests] == [
        "fieldManager=sekisho&force=true&fieldValidation=Ignore",
        "fieldManager=sekisho-depot&force=true&fieldValidation=Ignore",
    ]


async def test_an_eviction_names_the_pod_it_means(server: tuple[Server, str], client: KubeClient) -> None:
    assert await client.evict("chat-0", namespace="a", uid="uid-0") is True
    method, path, _, body = server[0].requests[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/a/pods/chat-0/eviction")
    asked = json.loads(body)
    assert (asked["apiVersion"], asked["kind"]) == ("policy/v1", "Eviction")
    assert asked["deleteOptions"] == {"preconditions": {"uid": "uid-0"}}


async def test_an_eviction_that_a_budget_forbids_may_be_tried_again_and_a_gone_pod_is_gone(
    server: tuple[Server, str], client: KubeClient
) -> None:
    server[0].says(429, "Cannot evict pod as it would violate the pod's disruption budget.")
    with pytest.raises(ApiUnavailableError, match="disruption budget"):
        await client.evict("chat-0", namespace="a", uid="uid-0")
    server[0].says(404, "not found")
    assert await client.evict("chat-0", namespace="a", uid="uid-0") is False
    server[0].says(403, "may not")
    with pytest.raises(ApiRefusedError, match="may not"):
        await client.evict("chat-0", namespace="a", uid="uid-0")
