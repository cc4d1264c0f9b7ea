"""When a Model is inspected, and what of it is published."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.model import Inspection
from sekisho.depot.following import Name, Raw
from sekisho.depot.inspection import Question
from sekisho.depot.inspector import Inspector, Signers, read_question
from sekisho.depot.register import KubeRegister
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kube.client import ClientLimits, KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.plan.signers import digest_signers
from tests.unit.classify.policies import HOUSE, build_signers
from tests.unit.depot.parts import settle

URI = "oci://registry.example/models/x:1"
AT = "2026-11-25T06:00:00Z"
UNREACHABLE = UnavailableError(Reason.SOURCE_UNREACHABLE, "the registry does not answer")
POLICY = {"metadata": {"name": "default"}, "spec": HOUSE.model_dump(by_alias=True, mode="json", exclude_none=True)}


def model(uri: str = URI, *, generation: int = 1, **more: Any) -> dict[str, Any]:
    spec = {"owner": "team", "format": {"name": "gguf"}, "storageUri": uri, **more.pop("spec", {})}
    meta = {"namespace": "a", "name": "x", "uid": "uid-1", "generation": generation, **more.pop("meta", {})}
    return {"metadata": meta, "spec": spec, **more}


def found(uri: str = URI, **changes: Any) -> Inspection:
    base = {"uri": uri, "policyDigest": digest_signers(HOUSE), "inspectedAt": AT}
    return Inspection.model_validate({**base, **changes})


def dump(inspection: Inspection) -> dict[str, Any]:
    return inspection.model_dump(by_alias=True, exclude_none=True, mode="json")


@dataclass
class SimulatedRegister:
    """The API server's Models and policy; what is published shows in them."""

    items: dict[Name, Raw] | None = field(default_factory=dict)
    rules: Raw | None = field(default_factory=lambda: dict(POLICY))
    writes: list[tuple[Name, str, Inspection]] = field(default_factory=list)
    refuse: SekishoError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0

    async def run(self) -> None:
        await asyncio.Event().wait()

    def models(self) -> Mapping[Name, Raw] | None:
        self.looks += 1
        return self.items

    def policy(self) -> Raw | None:
        return self.rules

    def show(self, raw: Raw) -> None:
        assert self.items is not None
        self.items["a", "x"] = raw
        self.changed.set()

    async def publish(self, name: Name, uid: str, found: Inspection) -> None:
        if self.refuse is not None:
            raise self.refuse
        assert self.items is not None
        self.writes.append((name, uid, found))
        self.items[name] = {**self.items[name], "status": {"inspection": dump(found)}}
        self.changed.set()


@dataclass(repr=False)
class Rig:
    """An inspector over simulated sources, with a clock that only moves when told."""

    register: SimulatedRegister = field(default_factory=SimulatedRegister)
    answer: Callable[[Question], Inspection] = lambda question: found(question.uri)
    asked: list[Question] = field(default_factory=list)
    now: float = 1000.0
    running: int = 0
    most_running: int = 0
    hold: asyncio.Event | None = None

    async def examine(self, question: Question, signers: Signers) -> Inspection:
        self.asked.append(question)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.hold is not None:
                await self.hold.wait()
            return self.answer(question)
        finally:
            self.running -= 1

    def forward(self, seconds: float) -> None:
        self.now += seconds
        self.register.changed.set()

    async def rest(self) -> None:
        """Wait for one more look, and for what it may begin."""
        seen = self.register.looks
        self.register.changed.set()
        await settle(lambda: self.register.looks > seen)
        await asyncio.sleep(0.06)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    inspector = Inspector(made.register, made.examine, clock=lambda: made.now, settle_seconds=0.01)
    task = asyncio.create_task(inspector.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert made.running == 0


async def test_a_new_model_is_inspected_at_once_and_then_left_alone(rig: Rig) -> None:
    rig.register.show(model())
    await settle(lambda: rig.register.writes)
    name, uid, inspection = rig.register.writes[0]
    assert (name, uid, inspection.uri) == (("a", "x"), "uid-1", URI)
    await rig.rest()
    assert len(rig.asked) == 1


async def test_nothing_is_inspected_before_models_and_a_policy_are_known(rig: Rig) -> None:
    items, rig.register.items = {("a", "x"): model()}, None
    rig.register.changed.set()
    await rig.rest()
    rig.register.items, rig.register.rules = items, None  # type: ignore[assignment]
    rig.register.changed.set()
    await rig.rest()
    rig.register.rules = {**POLICY, "metadata": {**POLICY["metadata"], "deletionTimestamp": AT}}
    await rig.rest()
    assert rig.asked == []
    rig.register.rules = POLICY
    rig.register.changed.set()
    await settle(lambda: rig.register.writes)


async def test_another_source_is_inspected_at_once(rig: Rig) -> None:
    rig.register.show(model())
    await settle(lambda: rig.register.writes)
    rig.register.show(model("oci://registry.example/models/x:2", generation=2))
    await settle(lambda: len(rig.register.writes) == 2)
    assert rig.register.writes[1][2].uri.endswith(":2")


async def test_other_signers_are_checked_against_at_once(rig: Rig) -> None:
    rig.register.show(model())
    await settle(lambda: rig.register.writes)
    signers = [*POLICY["spec"]["signers"], *build_signers("other")]
    rig.register.rules = {**POLICY, "spec": {**POLICY["spec"], "signers": signers}}
    rig.register.changed.set()
    await settle(lambda: len(rig.asked) == 2)
    other = ClassificationPolicySpec.model_validate(rig.register.rules["spec"])
    assert rig.asked[1].signers == digest_signers(other)


async def test_a_new_depot_believes_what_stands_there_and_looks_again_later(rig: Rig) -> None:
    rig.register.show(model(status={"inspection": dump(found())}))
    await rig.rest()
    assert rig.asked == []
    rig.forward(601)
    await settle(lambda: rig.asked)
    await rig.rest()
    assert rig.register.writes == []


async def test_what_a_tag_names_by_now_is_told(rig: Rig) -> None:
    rig.register.show(model(status={"inspection": dump(found())}))
    await rig.rest()
    rig.answer = lambda question: found(question.uri, artifactDigest="sha256:" + "22" * 32)
    rig.forward(601)
    await settle(lambda: rig.register.writes)


async def test_what_somebody_wrote_into_a_status_is_written_over(rig: Rig) -> None:
    rig.register.show(model(status={"inspection": {"sealed": "perhaps"}}))
    await settle(lambda: rig.register.writes)


async def test_a_source_that_cannot_be_read_is_told_and_tried_again_ever_more_seldom(rig: Rig) -> None:
    def fail(_: Question) -> Inspection:
        raise UNREACHABLE

    rig.answer = fail
    rig.register.show(model())
    await settle(lambda: rig.register.writes)
    refusal = rig.register.writes[0][2].refusal
    assert refusal is not None
    assert (refusal.reason, refusal.message) == (Reason.SOURCE_UNREACHABLE, "the registry does not answer")
    for seconds, count in ((3, 1), (4, 2), (7, 2), (6, 3)):
        rig.forward(seconds)
        await rig.rest()
        await settle(lambda wanted=count: len(rig.asked) == wanted)
    assert len(rig.register.writes) == 1
    rig.answer = lambda question: found(question.uri)
    rig.forward(400)
    await settle(lambda: len(rig.register.writes) == 2)
    assert rig.register.writes[1][2].refusal is None


async def test_a_source_that_cannot_be_read_now_does_not_undo_what_was_found(rig: Rig) -> None:
    def fail(_: Question) -> Inspection:
        raise RefusedError(Reason.SOURCE_NOT_FOUND, "gone")

    rig.answer = fail
    rig.register.show(model(status={"inspection": dump(found())}))
    await rig.rest()
    rig.forward(601)
    await settle(lambda: rig.asked)
    await rig.rest()
    assert rig.register.writes == []


SEAL = {
    "sealed": True, "manifestDigest": "sha256:" + "11" * 32, "model": "legal/x", "version": 7, "class": "confidential",
    "kms": "openbao", "keyId": "transit/legal", "keyVersion": "1", "signedBy": ["release"],
}  # fmt: skip


@pytest.mark.parametrize("uri", [URI, "oci://registry.example/models/x:2"], ids=["other signers", "another source"])
async def test_a_source_that_cannot_be_read_leaves_the_class_of_what_was_sealed_there(rig: Rig, uri: str) -> None:
    def fail(_: Question) -> Inspection:
        raise UNREACHABLE

    rig.answer = fail
    old = found(**SEAL, policyDigest="sha256:" + "00" * 32)
    rig.register.show(model(uri, status={"inspection": dump(old)}))
    await settle(lambda: rig.register.writes)
    told = rig.register.writes[0][2]
    assert (told.uri, told.sealed, told.class_, told.manifest_digest) == (uri, False, "confidential", None)
    assert told.refusal is not None
    rig.forward(7)
    await settle(lambda: len(rig.asked) == 2)
    await rig.rest()
    assert len(rig.register.writes) == 1
    rig.answer = lambda question: found(question.uri)
    rig.forward(400)
    await settle(lambda: len(rig.register.writes) == 2)
    assert rig.register.writes[1][2].class_ is None


async def test_a_seal_that_does_not_hold_undoes_what_was_found(rig: Rig) -> None:
    refused = found(sealed=True, refusal={"reason": "SignatureInvalid", "message": "x"})
    rig.answer = lambda _: refused
    rig.register.show(model(status={"inspection": dump(found())}))
    await rig.rest()
    rig.forward(601)
    await settle(lambda: rig.register.writes)
    assert rig.register.writes[0][2] is refused


async def test_an_answer_that_was_written_over_by_a_late_one_is_given_again(rig: Rig) -> None:
    rig.register.show(model())
    await settle(lambda: rig.register.writes)
    late = found("oci://registry.example/models/x:0")
    rig.register.show(model(status={"inspection": dump(late)}))
    await rig.rest()
    rig.forward(9)
    await rig.rest()
    assert len(rig.asked) == 1
    for _ in range(100):  # seconds of the rig's clock; the next look that was planned is further away
        rig.forward(2)
        await rig.rest()
        if len(rig.register.writes) == 2:
            break
    assert rig.register.writes[1][2].uri == URI
    rig.forward(20)
    await rig.rest()
    assert len(rig.asked) == 2


async def test_a_watch_that_shows_an_answer_late_makes_nobody_look_again(rig: Rig) -> None:
    rig.register.show(model())
    await settle(lambda: rig.register.writes)
    rig.register.show(model())  # as it was before the write
    await rig.rest()
    rig.forward(9)
    await rig.rest()
    rig.register.show(model(status={"inspection": dump(found())}))
    await rig.rest()
    rig.forward(9)
    await rig.rest()
    assert len(rig.asked) == 1


async def test_a_write_that_fails_is_tried_again(rig: Rig) -> None:
    rig.register.refuse = UnavailableError(Reason.API_UNAVAILABLE, "no answer")
    rig.register.show(model())
    await settle(lambda: rig.asked)
    rig.register.refuse = None
    await rig.rest()
    rig.forward(7)
    await settle(lambda: rig.register.writes)


async def test_a_model_that_goes_away_meanwhile_is_not_written(rig: Rig) -> None:
    rig.hold = asyncio.Event()
    rig.register.show(model())
    await settle(lambda: rig.running)
    assert rig.register.items is not None
    rig.register.items.clear()
    rig.register.changed.set()
    await settle(lambda: not rig.running)
    assert rig.register.writes == []


async def test_few_sources_are_read_at_once(rig: Rig) -> None:
    rig.hold = asyncio.Event()
    assert rig.register.items is not None
    for index in range(20):
        rig.register.items["a", f"x{index}"] = model(meta={"name": f"x{index}"})
    rig.register.changed.set()
    await settle(lambda: rig.running)
    rig.hold.set()
    await settle(lambda: len(rig.register.writes) == 20)
    assert rig.most_running <= 4


@pytest.mark.parametrize(
    "raw", [model("pvc://claim/x"), {"metadata": {}, "spec": {}}, model(meta={"deletionTimestamp": AT})]
)
def test_what_the_depot_cannot_see_is_not_asked_for(raw: Raw) -> None:
    assert read_question(raw, "sha256:0") is None


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class SimulatedApi:
    """An API server with two collections, watches that end when told, and patches that it keeps."""

    models: list[Raw] = field(default_factory=list)
    events: "asyncio.Queue[dict[str, Any] | None]" = field(default_factory=asyncio.Queue)
    patches: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    patch_status: int = 200
    lists: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH":
            self.patches.append((request.path_qs, json.loads(await request.read())))
            return web.json_response({"metadata": {}, "message": "no"}, status=self.patch_status)
        is_model = request.path.endswith("/models")
        if "watch" not in request.query:
            self.lists += is_model
            items = self.models if is_model else [POLICY]
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        while is_model and (event := await self.events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        if not is_model:
            await asyncio.sleep(30)
        return response


@pytest.fixture
async def api() -> AsyncIterator[tuple[SimulatedApi, KubeRegister]]:
    simulated = SimulatedApi([model()])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", simulated.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    credentials = Credentials(f"http://127.0.0.1:{runner.addresses[0][1]}", token="t")
    async with KubeClient(credentials, process="depot", limits=ClientLimits()) as client:
        register = KubeRegister(client)
        task = asyncio.create_task(register.run())
        yield simulated, register
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await runner.cleanup()


@pytest.mark.slow
async def test_models_are_followed_through_changes_and_a_watch_that_ends(
    api: tuple[SimulatedApi, KubeRegister],
) -> None:
    simulated, register = api
    assert register.models() is None
    await settle(lambda: register.models() is not None)
    assert (register.policy() or {})["spec"] == POLICY["spec"]
    assert set(register.models() or ()) == {("a", "x")}
    await simulated.events.put({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "6"}}})
    await simulated.events.put({"type": "ADDED", "object": model(meta={"name": "y"})})
    await settle(lambda: ("a", "y") in (register.models() or {}))
    register.changed.clear()
    await simulated.events.put({"type": "DELETED", "object": model()})
    await settle(lambda: ("a", "x") not in (register.models() or {}))
    assert register.changed.is_set()
    simulated.models = [model(meta={"name": "z"})]
    await simulated.events.put(None)
    await settle(lambda: set(register.models() or ()) == {("a", "z")})
    await simulated.events.put({"type": "ERROR", "object": {"message": "too old"}})
    await settle(lambda: simulated.lists == 3)


async def test_an_inspection_is_applied_as_the_depots_own_field(api: tuple[SimulatedApi, KubeRegister]) -> None:
    simulated, register = api
    await register.publish(("a", "x"), "uid-1", found())
    path, body = simulated.patches[0]
    assert path.startswith(
        "/apis/inference.sekisho.dev/v1alpha1/namespaces/a/models/x/status?fieldManager=sekisho-depot"
    )
    assert body["metadata"] == {"namespace": "a", "name": "x", "uid": "uid-1"}
    assert body["status"] == {"inspection": dump(found())}


@pytest.mark.parametrize("status", [404, 409])
async def test_a_model_that_is_gone_or_another_by_now_is_no_matter(
    api: tuple[SimulatedApi, KubeRegister], status: int
) -> None:
    api[0].patch_status = status
    await api[1].publish(("a", "x"), "uid-1", found())


async def test_an_inspection_that_the_server_refuses_is_told(api: tuple[SimulatedApi, KubeRegister]) -> None:
    api[0].patch_status = 403
    with pytest.raises(RefusedError, match="no"):
        await api[1].publish(("a", "x"), "uid-1", found())


async def test_what_nobody_foresaw_is_told_and_tried_again(rig: Rig) -> None:
    def fail(_question: Question) -> Inspection:
        raise TypeError("'int' object is not iterable")

    rig.answer = fail
    rig.register.show(model())
    await settle(lambda: rig.register.writes)
    refusal = rig.register.writes[0][2].refusal
    assert refusal is not None
    assert refusal.reason == Reason.INTERNAL_ERROR
    assert refusal.message == "the inspection ended with TypeError, of which the depot's log says more"
    rig.answer = lambda question: found(question.uri)
    rig.forward(10)
    await settle(lambda: rig.register.writes[-1][2].refusal is None)


async def test_a_namespace_whose_sources_are_slow_leaves_turns_to_the_others(rig: Rig) -> None:
    rig.hold = asyncio.Event()
    for number in range(20):
        raw = model(meta={"name": f"slow-{number}", "uid": f"slow-{number}"})
        assert rig.register.items is not None
        rig.register.items["a", f"slow-{number}"] = raw
    rig.register.changed.set()
    await settle(lambda: rig.running)
    await rig.rest()
    assert rig.running == 2
    other = model("oci://registry.example/models/other:1", meta={"namespace": "b"})
    rig.register.items["b", "x"] = other
    rig.register.changed.set()
    await settle(lambda: any("other" in question.uri for question in rig.asked))
    rig.hold.set()
    await settle(lambda: len(rig.register.writes) == 21)
    assert rig.most_running == 3
