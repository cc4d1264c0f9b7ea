"""What we created can be taken back by a later apply, and nobody else's fields are touched for it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sekisho.controller.projections import project_object
from sekisho.errors import Reason, RefusedError
from sekisho.kube.apply import write
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.failures import ApiConflictError
from sekisho.kube.ownership import CREATED, count_as_applied, is_created
from sekisho.render.digest import stamp

OWNER = {"apiVersion": "a/v1", "kind": "InferenceService", "name": "chat", "uid": "u1", "controller": True}
LABELS = {"app.kubernetes.io/managed-by": "sekisho", "sekisho.dev/service": "chat"}
META = {"name": "x", "namespace": "a", "labels": LABELS, "ownerReferences": [OWNER]}
WANTED = stamp({"apiVersion": "v1", "kind": "ConfigMap", "metadata": META, "data": {"k": "v"}})


def entry(operation: str, fields: dict[str, Any], *, manager: str = "sekisho", **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields, **more}


BY_US = entry("Update", {"f:data": {".": {}, "f:k": {}}}, time="2026-01-01T00:00:00Z")
OF_OTHERS = entry("Update", {"f:data": {"f:theirs": {}}}, manager="kubectl-edit")
OF_STATUS = entry("Update", {"f:status": {}}, subresource="status")


@pytest.mark.parametrize(
    ("entries", "created"),
    [
        ([BY_US], True),
        ([OF_OTHERS, BY_US], True),
        (CREATED, True),
        ([entry("Apply", {})], False),
        ([OF_OTHERS], False),
        ([OF_STATUS], False),
        ([], False),
        (None, False),
    ],
)
def test_what_a_request_of_ours_made_without_an_apply_is_told_from_the_record(entries: Any, created: bool) -> None:
    assert is_created({"metadata": {"managedFields": entries}}) is created
    assert is_created(project_object({"metadata": {"managedFields": entries}})) is created


def test_of_the_record_a_store_keeps_no_field() -> None:
    assert project_object({"metadata": {"name": "x", "managedFields": [OF_OTHERS, BY_US]}}) == {
        "metadata": {"name": "x", "managedFields": CREATED}
    }
    assert project_object({"metadata": {"name": "x", "managedFields": [OF_OTHERS]}}) == {"metadata": {"name": "x"}}


def test_what_we_created_counts_as_applied_and_the_entries_of_others_stay() -> None:
    assert count_as_applied([OF_OTHERS, BY_US, OF_STATUS]) == [{**BY_US, "operation": "Apply"}, OF_OTHERS, OF_STATUS]


def test_what_we_applied_and_updated_becomes_one_entry_with_the_fields_of_both() -> None:
    applied = entry("Apply", {"f:data": {"f:k": {}, "f:old": {}}, "f:metadata": {"f:labels": {}}})
    assert count_as_applied([applied, BY_US]) == [
        {**applied, "fieldsV1": {"f:data": {".": {}, "f:k": {}, "f:old": {}}, "f:metadata": {"f:labels": {}}}}
    ]


@dataclass
class Stand:
    """An API server with at most one object, which records its writers as the real one does."""

    live: dict[str, Any] | None = None
    asked: list[tuple[str, Any]] = field(default_factory=list)
    refuse_creation: bool = False
    conflicts: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read() or b"null")
        self.asked.append((f"{request.method} {request.content_type.rpartition('/')[2]}", body))
        if request.method == "POST" and (self.live is not None or self.refuse_creation):
            return web.json_response({"message": "exists"}, status=409)
        if request.content_type == "application/json-patch+json" and self.conflicts:
            self.conflicts -= 1
            return web.json_response({"message": "it was modified"}, status=409)
        if request.method == "GET" and self.live is None:
            return web.json_response({"message": "not there"}, status=404)
        if request.method == "POST" or request.content_type == "application/apply-patch+yaml":
            self.live = {**body, "metadata": {**body["metadata"], "uid": "x", "resourceVersion": "8"}}
        return web.json_response(self.live)

    @property
    def verbs(self) -> list[str]:
        return [what for what, _ in self.asked]


@pytest.fixture
async def client() -> AsyncIterator[tuple[Stand, KubeClient]]:
    stand = Stand()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stand.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    credentials = Credentials(f"http://127.0.0.1:{runner.addresses[0][1]}", token="t")
    async with KubeClient(credentials, process="test") as made:
        yield stand, made
    await runner.cleanup()


def there(*entries: dict[str, Any], **meta: Any) -> dict[str, Any]:
    seen = {"uid": "x", "resourceVersion": "7", "managedFields": list(entries), **meta}
    return {**WANTED, "metadata": {**WANTED["metadata"], **seen}, "data": {"k": "edited"}}


async def test_what_is_not_there_is_created_by_one_plain_request(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    stored = await write(api, WANTED, None)
    assert stored["data"] == {"k": "v"}
    assert stand.asked == [("POST json", WANTED)]


async def test_what_somebody_else_made_meanwhile_is_not_written_over(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    stand.live = there(labels={}, ownerReferences=[])
    with pytest.raises(RefusedError, match="ConfigMap a/x exists and does not carry sekisho's labels") as caught:
        await write(api, WANTED, None)
    assert caught.value.reason is Reason.NOT_OURS
    assert stand.verbs == ["POST json", "GET octet-stream"]


async def test_what_somebody_made_beforehand_in_our_owners_name_is_emptied_before_it_is_ours(
    client: tuple[Stand, KubeClient],
) -> None:
    stand, api = client
    stand.live = {
        **there(OF_OTHERS, labels={}, annotations={"cloud.example/role": "admin"}),
        "binaryData": {"x": "eA=="},
    }
    await write(api, WANTED, None)
    assert stand.verbs == [
        "POST json", "GET octet-stream", "GET octet-stream", "PATCH json-patch+json", "PATCH apply-patch+yaml",
    ]  # fmt: skip
    assert stand.asked[3][1] == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "remove", "path": "/binaryData"},
        {"op": "remove", "path": "/data"},
        {"op": "add", "path": "/data", "value": {"k": "v"}},
    ]


async def test_a_deployment_that_lost_its_labels_is_not_emptied_for_that_would_begin_a_rollout(
    client: tuple[Stand, KubeClient],
) -> None:
    stand, api = client
    wanted = stamp({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": META, "spec": {"replicas": 1}})
    stand.live = {**wanted, "metadata": {**META, "labels": {}, "uid": "x", "resourceVersion": "7"}}
    await write(api, wanted, None)
    assert stand.verbs == ["POST json", "GET octet-stream", "PATCH apply-patch+yaml"]


async def test_what_an_owner_of_the_same_name_left_is_waited_for(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    stand.live = there(ownerReferences=[{**OWNER, "uid": "of-the-one-before"}])
    with pytest.raises(
        ApiConflictError, match="ConfigMap a/x belongs to an earlier InferenceService chat, which is gone"
    ):
        await write(api, WANTED, None)
    stand.live = there(ownerReferences=[{**OWNER, "name": "other", "uid": "u2"}])
    with pytest.raises(RefusedError, match="exists and belongs to InferenceService other; it is left as it is"):
        await write(api, WANTED, stand.live)


async def test_what_can_neither_be_created_nor_read_is_tried_again_later(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    stand.refuse_creation = True
    with pytest.raises(ApiConflictError, match="exists"):
        await write(api, WANTED, None)


async def test_what_we_made_meanwhile_is_applied_with_a_record_that_lets_it_go(
    client: tuple[Stand, KubeClient],
) -> None:
    stand, api = client
    stand.live = there(BY_US, OF_OTHERS)
    await write(api, WANTED, None)
    assert stand.verbs[-3:] == ["GET octet-stream", "PATCH json-patch+json", "PATCH apply-patch+yaml"]


async def test_the_record_is_rewritten_only_while_nobody_wrote_since(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    stand.live = there(BY_US, OF_OTHERS)
    await write(api, WANTED, project_object(stand.live))
    assert stand.asked[1][1] == [
        {"op": "replace", "path": "/metadata/managedFields", "value": [{**BY_US, "operation": "Apply"}, OF_OTHERS]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]
    assert stand.asked[2][1]["metadata"]["uid"] == "x"


async def test_what_was_applied_before_is_applied_by_one_request(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    stand.live = there(entry("Apply", {}), OF_OTHERS)
    await write(api, WANTED, project_object(stand.live))
    assert stand.verbs == ["PATCH apply-patch+yaml"]


async def test_a_record_that_was_rewritten_already_is_left(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    shown = project_object(there(BY_US))
    stand.live = there(entry("Apply", {}))
    await write(api, WANTED, shown)
    assert stand.verbs == ["GET octet-stream", "PATCH apply-patch+yaml"]


@pytest.mark.parametrize(("conflicts", "verbs"), [(1, 5), (2, 7)])
async def test_what_others_write_meanwhile_puts_a_repair_off_only_for_a_moment(
    client: tuple[Stand, KubeClient], conflicts: int, verbs: int
) -> None:
    stand, api = client
    stand.live, stand.conflicts = there(BY_US), conflicts
    await write(api, WANTED, project_object(stand.live))
    assert stand.verbs[-2:] == ["PATCH json-patch+json", "PATCH apply-patch+yaml"]
    assert len(stand.verbs) == verbs


async def test_an_object_that_others_write_all_the_time_is_applied_later(client: tuple[Stand, KubeClient]) -> None:
    stand, api = client
    stand.live, stand.conflicts = there(BY_US), 9
    with pytest.raises(ApiConflictError, match="it was modified"):
        await write(api, WANTED, project_object(stand.live))
    assert "PATCH apply-patch+yaml" not in stand.verbs


@pytest.mark.parametrize("gone", [True, False])
async def test_an_object_that_went_since_is_not_taken_for_its_successor(
    client: tuple[Stand, KubeClient], gone: bool
) -> None:
    stand, api = client
    shown = project_object(there(BY_US))
    stand.live = None if gone else there(BY_US, uid="another")
    with pytest.raises(ApiConflictError, match="ConfigMap a/x is not the object any more that was shown"):
        await write(api, WANTED, shown)
    assert set(stand.verbs) == {"GET octet-stream"}
