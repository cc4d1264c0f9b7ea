"""Whatever fails, and whatever changes between two tries: nobody is asked who may not answer at that very moment.

Facts are the gateway's own, filled by hand; the relay is a simulator that fails as it is told and changes the cluster.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.choosing.attempts import Attempts, Prepared, TimedSink, Tries
from sekisho.gateway.choosing.choosing import Choosing, HoldLimits
from sekisho.gateway.choosing.experience import Experience
from sekisho.gateway.choosing.polling import Watched
from sekisho.gateway.decide import Backend, RequestClass
from sekisho.gateway.dialects.answers import Answerer
from sekisho.gateway.facts import Facts
from sekisho.gateway.relay import Outcome, Sink
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.reflecting import Freshness, Reflector
from tests.unit.gateway.house import build_pod, build_service

POLICY: dict[str, Any] = {
    "unlabelled": "internal",
    "levels": [
        {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"]}},
        {"name": "secret", "rules": {"tiers": ["Closed"], "jurisdictions": ["JP"]}},
    ],
}
GOOD, BAD = {"status": "True", "lastProbeTime": "2027-01-15T08:00:00Z"}, {"status": "False"}
AT = 1_800_000_000.0


class Cluster:
    """The gateway's knowledge of a cluster, written by hand."""

    def __init__(
        self, *, level: str = "secret", policy: Mapping[str, Any] = POLICY, hold: HoldLimits | None = None
    ) -> None:
        self.facts = Facts(KubeClient(Credentials(server="http://127.0.0.1:1"), process="test"), Freshness())
        self.experience = Experience()
        self.choosing = Choosing(
            self.facts, self.experience, Watched(), proof_seconds=240.0, hold=hold or HoldLimits(0.0), clock=lambda: AT
        )
        self.service = build_service("chat", level=level, compartments=(), site="tokyo")
        self.allowed: dict[str, bool] = {}
        for reflector in self.facts._reflectors:
            reflector._hear()
        self.put(self.facts._policies, {"metadata": {"name": "default"}, "spec": policy})
        self.put(self.facts._services, self.service)
        self.put_site("Closed", "JP")

    def put(self, reflector: Reflector[Any], raw: Mapping[str, Any]) -> None:
        reflector._take({"type": "MODIFIED", "object": raw})

    def put_site(self, tier: str, jurisdiction: str) -> None:
        spec = {"tier": tier, "jurisdiction": jurisdiction}
        self.put(self.facts._sites, {"metadata": {"name": "tokyo"}, "spec": spec})

    def put_pod(self, number: int, **how: Any) -> None:
        conditions = {"sekisho.dev/isolated": GOOD} | how.pop("conditions", {})
        name, address = f"chat-{number}", how.pop("address", f"10.0.0.{number}")
        node, phase = how.pop("node", None), how.pop("phase", None)
        pod = build_pod(self.service, name, address=address, port=8080, conditions=conditions, **how)
        pod["spec"] |= {} if node is None else {"nodeName": node}
        pod["status"] |= {} if phase is None else {"phase": phase}
        self.put(self.facts._pods, pod)

    def drop_pod(self, number: int) -> None:
        meta = {"name": f"chat-{number}", "namespace": "legal"}
        self.facts._pods._take({"type": "DELETED", "object": {"metadata": meta}})

    def choose(self, level: str = "secret") -> Any:
        law = self.facts.law
        service = self.facts.find("legal", "chat")
        assert service is not None
        value = law.lattice.resolve(level, source="test")
        return self.choosing.choose(law, service, RequestClass(value, ()), {})


@dataclass
class Relaying:
    """Fails as it is told, once for each try, and lets the cluster change before it does."""

    steps: list[tuple[str, Callable[[], None]]]
    look: Callable[[str], bool] = lambda _: True
    asked: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)

    async def relay(
        self,
        backend: Backend,
        path: str,
        body: bytes,
        sink: Sink,
        *,
        stream: bool,
        outcome: Outcome,
        answerer: Answerer | None = None,
    ) -> None:
        assert (path, body, stream, answerer, backend.port) == ("/p", b"{}", False, None, 8080)
        self.asked.append(backend.host)
        if not self.look(backend.host):
            self.forbidden.append(backend.host)
        how, change = self.steps.pop(0) if self.steps else ("answer", lambda: None)
        change()
        match how:
            case "unreached":
                outcome.untouched = True
                raise UnavailableError(Reason.UPSTREAM_FAILED, "could not be reached")
            case "busy":
                outcome.untouched = True
                raise UnavailableError(Reason.OVERLOADED, "is overloaded")
            case "broke":
                raise UnavailableError(Reason.UPSTREAM_FAILED, "ended in the middle of its answer")
            case "refuse":
                raise RefusedError(Reason.REQUEST_INVALID, "refused the request")
            case "cut":
                await sink.begin(200, "text/event-stream")
                outcome.status, outcome.reason = 200, Reason.UPSTREAM_FAILED
            case _:
                outcome.status = 200
                await sink.begin(200, "application/json", length=0)


class Nowhere:
    """A caller who hears nothing."""

    async def begin(self, *_: Any, **__: Any) -> None:
        return

    def push(self, data: bytes) -> bool:
        return True

    async def write(self, data: bytes) -> None:
        return

    async def end(self) -> None:
        return


@dataclass
class Told:
    """How a request ended."""

    error: SekishoError | None
    tries: list[dict[str, Any]]


async def send(cluster: Cluster, relay: Relaying, choice: Any = None) -> Told:
    tries, sink = Tries(), TimedSink(Nowhere(), dict)
    try:
        choice = choice or cluster.choose()
        prepared = Prepared("/p", b"{}", stream=False, answerer=None)
        await Attempts(cluster.choosing, relay).send(choice, prepared, sink, outcome=Outcome(), tries=tries)
    except SekishoError as error:
        return Told(error, tries.describe())
    return Told(None, tries.describe())


def nothing() -> None:
    return


def build_cluster(count: int = 2, **how: Any) -> Cluster:
    cluster = Cluster(**how)
    for number in range(1, count + 1):
        cluster.put_pod(number)
    return cluster


@pytest.mark.parametrize("how", ["unreached", "busy"])
async def test_the_next_is_asked_where_the_first_cannot_have_begun(how: str) -> None:
    cluster, relay = build_cluster(), Relaying([(how, nothing)])
    told = await send(cluster, relay)
    assert told.error is None
    assert sorted(relay.asked) == ["10.0.0.1", "10.0.0.2"]
    reason = {"unreached": "UpstreamFailed", "busy": "Overloaded"}[how]
    assert [item.get("reason") for item in told.tries] == [reason, None]


@pytest.mark.parametrize(("how", "reason"), [("broke", "UpstreamFailed"), ("refuse", "RequestInvalid")])
async def test_nobody_else_is_asked_where_the_first_may_have_begun(how: str, reason: str) -> None:
    cluster, relay = build_cluster(), Relaying([(how, nothing)])
    told = await send(cluster, relay)
    assert told.error is not None
    assert told.error.reason.value == reason
    assert len(relay.asked) == 1
    assert [item.get("reason") for item in told.tries] == [reason]


async def test_at_most_three_are_asked_and_the_last_failure_is_told() -> None:
    cluster, relay = build_cluster(5), Relaying([("unreached", nothing)] * 3 + [("busy", nothing)])
    told = await send(cluster, relay)
    assert told.error is not None
    assert told.error.message == "could not be reached"
    assert len(relay.asked) == len(set(relay.asked)) == 3


async def test_one_that_is_not_reached_is_left_alone_for_a_moment_and_then_recorded_as_such() -> None:
    cluster = build_cluster()
    await send(cluster, Relaying([("unreached", nothing)]))
    choice = cluster.choose()
    assert len(choice.order) == 1
    described = choice.describe()
    assert (described["tier"], described["site"]) == ("Closed", "tokyo")
    assert list(described["excluded"].values()) == ["health"]
    assert described["candidates"] == [choice.order[0].replica.name] == [described["name"]]


async def test_streams_that_are_cut_three_times_in_a_row_leave_their_replica_alone() -> None:
    cluster, relay = build_cluster(), Relaying([("cut", nothing)] * 9)
    for _ in range(6):
        await send(cluster, relay)
    assert len(cluster.choose().excluded) <= 1
    assert {"10.0.0.1", "10.0.0.2"} >= set(relay.asked)


CHANGES: dict[str, Callable[[Cluster, int], None]] = {
    "its isolation is not proven any more": lambda c, n: c.put_pod(n, conditions={"sekisho.dev/isolated": BAD}),
    "it is not ready": lambda c, n: c.put_pod(n, conditions={"Ready": BAD}),
    "it is gone": lambda c, n: c.drop_pod(n),
    "it is of a lower class": lambda c, n: c.put_pod(n, labels={"sekisho.dev/classification": "internal"}),
    "it is elsewhere": lambda c, n: c.put_pod(n, labels={"sekisho.dev/site": "osaka"}),
    "its key's lease has ended": lambda c, n: c.put_pod(n, conditions={"sekisho.dev/key-released": BAD}),
    "another has its address": lambda c, n: c.put_pod(n, labels={"sekisho.dev/service": "other"}),
    "the site's tier is another": lambda c, _: c.put_site("OwnCloud", "JP"),
    "the site's law is another": lambda c, _: c.put_site("Closed", "US"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_what_changes_after_the_choice_counts_at_the_try(what: str) -> None:
    cluster, relay = build_cluster(1), Relaying([])
    choice = cluster.choose()
    CHANGES[what](cluster, 1)
    told = await send(cluster, relay, choice)
    assert told.error is not None
    assert told.error.reason is Reason.MODEL_NOT_READY
    assert told.error.message.startswith("model legal/chat does not answer now: ")
    assert relay.asked == []
    assert [item["reason"].split(":")[0] for item in told.tries] == ["excluded"]


def lower_class(cluster: Cluster) -> None:
    cluster.put(cluster.facts._services, build_service("chat", level="internal", compartments=(), site="tokyo"))


def close_service(cluster: Cluster) -> None:
    unmet = {"type": "Isolated", "status": "False", "reason": "ForeignNetworkPolicy", "message": "open"}
    service = build_service("chat", level="secret", compartments=(), site="tokyo", unmet=unmet)
    cluster.put(cluster.facts._services, service)


def move_service(cluster: Cluster) -> None:
    cluster.put(cluster.facts._services, build_service("chat", level="secret", compartments=(), site="osaka"))


def drop_service(cluster: Cluster) -> None:
    meta = {"name": "chat", "namespace": "legal"}
    cluster.facts._services._take({"type": "DELETED", "object": {"metadata": meta}})


def drop_law(cluster: Cluster) -> None:
    cluster.facts._policies._take({"type": "DELETED", "object": {"metadata": {"name": "default"}}})


def rename_levels(cluster: Cluster) -> None:
    policy = {"unlabelled": "x", "levels": [{"name": "x"}]}
    cluster.put(cluster.facts._policies, {"metadata": {"name": "default"}, "spec": policy})


def go_deaf(cluster: Cluster) -> None:
    cluster.facts._pods.heard_at = float("-inf")


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (lower_class, Reason.CLASS_ABOVE_SERVICE, "legal/chat is cleared for internal"),
        (close_service, Reason.MODEL_NOT_READY, "Isolated is False: ForeignNetworkPolicy: open"),
        (move_service, Reason.MODEL_NOT_READY, "it moves from site tokyo to osaka"),
        (drop_service, Reason.MODEL_UNKNOWN, "there is no model"),
        (drop_law, Reason.POLICY_MISSING, "without one nothing is relayed"),
        (rename_levels, Reason.UNKNOWN_LEVEL, 'asks for level "secret"'),
        (go_deaf, Reason.API_UNAVAILABLE, "nothing is known of the cluster yet"),
    ],
)
async def test_a_service_or_a_law_that_changes_after_the_choice_stops_every_try(
    change: Callable[[Cluster], None], reason: Reason, said: str
) -> None:
    cluster, relay = build_cluster(), Relaying([])
    choice = cluster.choose()
    change(cluster)
    told = await send(cluster, relay, choice)
    assert told.error is not None
    assert told.error.reason is reason
    assert said in told.error.message
    assert relay.asked == []


def test_that_nobody_is_left_says_what_the_service_waits_for_and_why_each_pod_is_out() -> None:
    cluster = Cluster()
    with pytest.raises(UnavailableError) as refusal:
        cluster.choose()
    assert refusal.value.message == "model legal/chat does not answer now: it has no pod"
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": "1 of 2 replicas serve"}
        for kind, status, reason in (
            ("Accepted", "True", "Accepted"), ("Placed", "True", "Placed"), ("Isolated", "True", "IsolationProven"),
            ("Ready", "False", "EngineStarting"),
        )
    ]  # fmt: skip
    raw = build_service("chat", level="secret", compartments=(), site="tokyo")
    raw["status"]["conditions"] = conditions
    cluster.put(cluster.facts._services, raw)
    cluster.put_pod(1, conditions={"Ready": BAD})
    with pytest.raises(UnavailableError) as refusal:
        cluster.choose()
    assert refusal.value.reason is Reason.MODEL_NOT_READY
    assert refusal.value.message == (
        "model legal/chat does not answer now: Ready is False: EngineStarting: 1 of 2 replicas serve "
        "(1 of 1: it is not ready)"
    )
    cluster.put_pod(2)
    assert [item.replica.name for item in cluster.choose().order] == ["chat-2"]


STEPS = st.tuples(
    st.sampled_from(["unreached", "busy", "broke", "cut", "answer"]),
    st.sampled_from(["", *CHANGES, "well again"]),
    st.integers(1, 3),
)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["internal", "secret"]),
    st.lists(st.tuples(st.sampled_from(["", *CHANGES]), st.integers(1, 3)), max_size=4),
    st.lists(STEPS, min_size=1, max_size=10),
)
def test_no_schedule_of_failures_and_changes_brings_a_request_to_whom_it_may_not_reach(
    level: str, before: list[tuple[str, int]], steps: list[tuple[str, str, int]]
) -> None:
    cluster = build_cluster(3)
    state: dict[int, str] = {}
    site = {"tier": "Closed", "law": "JP"}

    def change(what: str, number: int) -> None:
        if what == "well again":
            state.pop(number, None)
            site.update(tier="Closed", law="JP")
            cluster.put_site("Closed", "JP")
            cluster.put_pod(number)
        elif what.startswith("the site"):
            site.update({"tier": "OwnCloud"} if "tier" in what else {"law": "US"})
            cluster.put_site(site["tier"], site["law"])
        elif what:
            # A class too low for one request is not for another.
            state[number] = what
            CHANGES[what](cluster, number)

    def may_answer(address: str) -> bool:
        what = state.get(int(address.rpartition(".")[2]), "")
        fit = not what or (level == "internal" and what == "it is of a lower class")
        allowed = site["tier"] == "Closed" and site["law"] == "JP" if level == "secret" else True
        return fit and allowed

    for what, number in before:
        change(what, number)
    relay = Relaying(
        [(how, lambda what=what, number=number: change(what, number)) for how, what, number in steps],  # type: ignore[misc]
        may_answer,
    )

    async def run() -> None:
        for _ in range(4):
            try:
                choice = cluster.choose(level)
            except SekishoError:
                continue
            assert all(may_answer(item.replica.address) for item in choice.order)
            await send(cluster, relay, choice)

    asyncio.run(run())
    assert relay.forbidden == []
