"""No sequence of calls, in any interleaving over three replicas, yields a key without fresh valid evidence, or twice.

The rules of the machine do what pods, thieves, administrators and time can do; after each release it is held against
what was true at that very moment.
"""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from sekisho.broker.release import Broker
from sekisho.broker.releasefacts import ReleaseRules
from sekisho.errors import SekishoError
from sekisho.kms import failures
from sekisho.kube.pods import PodFacts
from tests.unit.attest.claims import MEASUREMENT
from tests.unit.broker.parts import POD, Agent, Raw, World, build_pod, identity_of
from tests.unit.broker.release_cases import build_owner, build_rules, build_tenant

REPLICAS = st.integers(0, 2)
PODS = (POD, "chat-predictor-2")
CHANGES = ("debug", "measurement", "revoked", "suspended", "shorter", "full", "down", "mended")
PURPOSES = st.sampled_from(["release", "release", "release", "renew", "evicted"])


class Interleavings(RuleBasedStateMachine):
    """Three replicas without shared memory, two pods, and everything that can go wrong between them."""

    challenges: Bundle[tuple[int, str, str, Raw]] = Bundle("challenges")
    answers: Bundle[tuple[int, str, str, Raw]] = Bundle("answers")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.brokers: list[Broker] = []
        self.answered: set[str] = set()
        self.asked_under: dict[str, ReleaseRules] = {}

    @initialize(target=answers)
    def begin(self) -> tuple[int, str, str, Raw]:
        """Begin with a release, so that there is an answer to send again, to splice and to send elsewhere."""
        self.world = World()
        self.world.api.put("pods", build_pod(name=PODS[1], uid="uid-2", address="10.8.0.6"))
        self.world.api.tokens["t2"] = identity_of(PODS[1], "uid-2")
        self.brokers = [self.world.build_broker() for _ in range(3)]
        self.agents = {name: Agent(self.world, name=name) for name in PODS}
        self.granted, self.suspended = True, False
        answer = self.prepare_now(self.ask_now(0, POD, "release"))
        self.deliver(answer[3], 0, POD, "release", genuine=True)
        assert self.world.vault.unwrapped == 1
        return answer

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(target=challenges, replica=REPLICAS, name=st.sampled_from(PODS), purpose=PURPOSES)
    def ask(self, replica: int, name: str, purpose: str) -> tuple[int, str, str, Raw]:
        return self.ask_now(replica, name, purpose)

    def ask_now(self, replica: int, name: str, purpose: str) -> tuple[int, str, str, Raw]:
        try:
            challenge = self.run(self.agents[name].ask(self.brokers[replica], purpose))
        except SekishoError:
            challenge = {}
        else:
            self.asked_under[challenge["challenge"]] = self.world.rules
        self.run(self.brokers[replica].settle())
        return replica, name, purpose, challenge

    @rule(target=answers, asked=challenges)
    def prepare(self, asked: tuple[int, str, str, Raw]) -> tuple[int, str, str, Raw]:
        """Make an answer now; it may be sent later, elsewhere, by somebody else, or again."""
        return self.prepare_now(asked)

    def prepare_now(self, asked: tuple[int, str, str, Raw]) -> tuple[int, str, str, Raw]:
        replica, name, purpose, challenge = asked
        if not challenge:
            return replica, name, purpose, {}
        pod = self.run(self.agents[name].identify())
        body = self.agents[name].build_answer(challenge, pod, purpose)
        facts = {"made_at": self.world.clock.seconds, "sound": self.is_sound()}
        return replica, name, purpose, body | {"_": facts}

    @rule(answer=answers, replica=REPLICAS, sender=st.sampled_from(PODS), purpose=PURPOSES)
    def send(self, answer: tuple[int, str, str, Raw], replica: int, sender: str, purpose: str) -> None:
        made_for, name, wanted, body = answer
        if not body:
            return
        self.deliver(body, replica, sender, purpose, genuine=(made_for, name, wanted) == (replica, sender, purpose))

    @rule(answer=answers)
    def send_as_it_should_be(self, answer: tuple[int, str, str, Raw]) -> None:
        replica, name, purpose, body = answer
        if body:
            self.deliver(body, replica, name, purpose, genuine=True)

    @rule(target=answers, replica=REPLICAS, name=st.sampled_from(PODS), purpose=PURPOSES)
    def go_the_whole_way(self, replica: int, name: str, purpose: str) -> tuple[int, str, str, Raw]:
        """Do what an agent does; what it sent may be sent again."""
        answer = self.prepare_now(self.ask_now(replica, name, purpose))
        if answer[3]:
            self.deliver(answer[3], replica, name, purpose, genuine=True)
        return answer

    @rule(
        target=answers, replica=REPLICAS, name=st.sampled_from(PODS), purpose=PURPOSES,
        seconds=st.sampled_from([0, 31]), send=st.booleans(),
        what=st.sampled_from(("mended", "mended", "mended", *CHANGES)),
    )  # fmt: skip
    def be_slow(
        self, replica: int, name: str, purpose: str, seconds: int, what: str, send: bool
    ) -> tuple[int, str, str, Raw]:
        """Let time pass and something change between evidence and answer, and perhaps keep the answer for later."""
        answer = self.prepare_now(self.ask_now(replica, name, purpose))
        self.world.clock.seconds += seconds
        self.change_now(what)
        if send and answer[3]:
            self.deliver(answer[3], replica, name, purpose, genuine=True)
        return answer

    @rule(one=answers, other=answers)
    def splice(self, one: tuple[int, str, str, Raw], other: tuple[int, str, str, Raw]) -> None:
        """Send the evidence of one answer, as good as when it was made, with the challenge and the key of another."""
        replica, name, purpose, body = one
        if not body or not other[3] or body is other[3]:
            return
        spliced = body | {key: other[3][key] for key in ("evidence", "isolation", "_")}
        same = other[3]["challenge"] == body["challenge"]
        self.deliver(spliced, replica, name, purpose, genuine=same)

    def deliver(self, body: Raw, replica: int, sender: str, purpose: str, *, genuine: bool) -> None:
        facts = body["_"]
        sent = {key: value for key, value in body.items() if key != "_"}
        if purpose != "release":
            sent.pop("key", None)
        elif "key" not in sent:
            return  # not a release on the wire
        unwrapped, challenge = self.world.vault.unwrapped, sent["challenge"]
        pod: PodFacts = self.run(self.agents[sender].identify())
        try:
            self.run(self.agents[sender].send(self.brokers[replica], sent, pod, purpose))
            got = purpose == "release"
        except SekishoError:
            got = False
        self.run(self.brokers[replica].settle())
        assert self.world.vault.unwrapped - unwrapped == int(got) or self.world.vault.trouble is not None
        if got:
            assert genuine, "an answer was taken that was made for another replica, pod or purpose"
            assert challenge not in self.answered, "a challenge was answered twice"
            assert self.world.clock.seconds - facts["made_at"] < 30, "evidence was taken that was too old"
            assert facts["sound"], "evidence of a machine that was not sound got a key"
            assert self.asked_under[challenge] == self.world.rules, "rules that changed were gone by"
            assert self.granted
            assert not self.suspended
            assert not self.world.book.full
            self.answered.add(challenge)
            note_event("a key was released")

    def is_sound(self) -> bool:
        machine = self.world.machine
        known = machine in self.world.maker.machines
        return known and not machine.debug and machine.measurement == MEASUREMENT

    @rule(seconds=st.sampled_from([1, 10, 29, 31]))
    def wait(self, seconds: int) -> None:
        self.world.clock.seconds += seconds

    @rule(what=st.sampled_from(CHANGES))
    def change_something(self, what: str) -> None:
        self.change_now(what)

    def change_now(self, what: str) -> None:
        """Let one thing go wrong, or all be well again."""
        machine, world = self.world.machine, self.world
        self.granted, self.suspended = what != "revoked", what == "suspended"
        machine.debug, machine.measurement = what == "debug", b"\x99" * 48 if what == "measurement" else MEASUREMENT
        owners = (build_owner(leaseSeconds=60 if what == "shorter" else 900),) if self.granted else ()
        world.rules = build_rules(owners=owners, tenants=(build_tenant(suspended=self.suspended),))
        world.book.full = what == "full"
        world.vault.trouble = failures.unavailable("openbao", "down") if what == "down" else None

    @rule(replica=REPLICAS)
    def restart(self, replica: int) -> None:
        """A replica that restarts knows no challenge any more."""
        end(self.brokers[replica])
        self.brokers[replica] = self.world.build_broker()

    @invariant()
    def every_key_that_was_opened_was_recorded_before(self) -> None:
        granted = [item for item in self.world.book.entries if item.get("decision") == "granted"]
        assert self.world.vault.unwrapped <= len([item for item in granted if item["kind"] == "release"])
        assert len(self.answered) == self.world.vault.unwrapped

    def teardown(self) -> None:
        for broker in self.brokers:
            self.run(broker.settle())
            end(broker)
        self.loop.close()


def end(broker: Broker) -> None:
    """End the threads of a broker that nobody asks any more."""
    broker.parts.verifier.close()
    broker.parts.keys.close()


def note_event(what: str) -> None:
    with contextlib.suppress(InvalidArgument):  # outside of hypothesis
        event(what)


TestInterleavings = pytest.mark.slow(Interleavings.TestCase)
TestInterleavings.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
