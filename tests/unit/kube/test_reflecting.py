"""What a reflector keeps: objects by name, found by group as well, over changes of the group and lists made anew."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.reflecting import Freshness, Reflector
from sekisho.kube.resources import PODS
from tests.unit.gateway.api_server import ApiServer


def build_pod(name: str, group: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a", "labels": {"sekisho.dev/service": group}}}


def keep(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"]["labels"].get("sekisho.dev/service", ""))


def build_reflector(client: KubeClient) -> Reflector[str]:
    return Reflector(client, PODS, keep, times=Freshness(), selector="sekisho.dev/service", group=lambda kept: kept)


def groups_of(reflector: Reflector[str]) -> dict[str, list[str]]:
    return {group: [name for _, name in reflector.of_group(group)] for group in ("x", "y") if reflector.of_group(group)}


def test_an_object_that_changes_its_group_is_found_in_the_new_one_alone() -> None:
    reflector = build_reflector(KubeClient(Credentials(server="http://127.0.0.1:1"), process="test"))
    for name, group in (("p", "x"), ("q", "x"), ("p", "y")):
        reflector._take({"type": "MODIFIED", "object": build_pod(name, group)})
    assert groups_of(reflector) == {"x": ["q"], "y": ["p"]}
    for name in ("p", "q", "r"):
        reflector._take({"type": "DELETED", "object": build_pod(name, "x")})
    assert (groups_of(reflector), reflector.objects) == ({}, {})


async def test_only_objects_with_the_label_are_listed_and_followed() -> None:
    async with ApiServer() as api, KubeClient(Credentials(server=api.url), process="test") as client:
        api.put("pods", build_pod("p", "x"))
        api.put("pods", {"metadata": {"name": "other", "namespace": "a", "labels": {}}})
        reflector = build_reflector(client)
        items, version = await client.list_at(PODS, label_selector="sekisho.dev/service")
        assert [item["metadata"]["name"] for item in items] == ["p"]
        api.put("pods", {"metadata": {"name": "third", "namespace": "a", "labels": {}}})
        api.put("pods", build_pod("q", "y"))
        watch: AsyncIterator[Any] = client.watch(PODS, version, seconds=60, label_selector="sekisho.dev/service")
        event = await anext(watch)
        assert event["object"]["metadata"]["name"] == "q"
        await watch.aclose()  # type: ignore[attr-defined]
        assert reflector.objects == {}
