"""Which replicas are eligible: every rule refuses for its own reason, and what is not known refuses."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.choosing.filtering import (
    Demand,
    Eligible,
    Now,
    Place,
    Rule,
    describe_exclusions,
    filter_replicas,
    find_exclusion,
    find_misplacement,
    find_trust_age,
)
from sekisho.gateway.choosing.replicas import Held, Replica
from sekisho.gateway.decide import Law, read_law

AT = 1_800_000_000.0
LAW: Law = read_law(
    {
        "unlabelled": "internal",
        "levels": [
            {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"]}},
            {"name": "secret", "rules": {"tiers": ["Closed"], "jurisdictions": ["JP"],
                                         "trust": {"anyOf": ["tdx", "snp"], "maxAgeSeconds": 600}}},
        ],
        "compartments": [
            {"name": "hr", "rules": {}}, {"name": "gpu", "rules": {"trust": {"devices": ["nvidia-cc"]}}},
            {"name": "odd", "rules": {"trust": {"anyOf": ["tpm"]}}},
        ],
    },
    "sha256:0",
)  # fmt: skip


def build_demand(level: str = "internal", *compartments: str, **changed: Any) -> Demand:
    value = LAW.lattice.resolve(level, compartments, source="test")
    demand = Demand("legal", "chat", value, LAW.book.rules(value), LAW.lattice, "tokyo", Place("Closed", "JP"))
    return demand._replace(**changed)


def build_replica(name: str = "chat-0", **changed: Any) -> Replica:
    good = Replica(
        "legal", name, f"uid-{name}", "chat", "10.0.0.7", 8080, "n1", "tokyo", "secret.gpu.hr.odd",
        ended=False, ready=True, proven_at=AT - 30,
    )  # fmt: skip
    return replace(good, **changed)


def build_now(proofs: Mapping[str, int] | None = None, **changed: Any) -> Now:
    fresh = {"tdx": int(AT) - 60, "nvidia-cc": int(AT) - 60}
    return Now(AT, 240.0, {"n1": fresh if proofs is None else proofs})._replace(**changed)


def rule_of(replica: Replica, demand: Demand | None = None, now: Now | None = None) -> tuple[Rule, str]:
    found = find_exclusion(replica, demand or build_demand(), now or build_now())
    assert found is not None
    assert found.replica is replica
    return found.rule, found.detail


def test_a_replica_of_which_all_is_known_may_answer() -> None:
    assert find_exclusion(build_replica(), build_demand(), build_now()) is None
    assert find_exclusion(build_replica(), build_demand("secret", "hr"), build_now()) is None


@pytest.mark.parametrize(
    ("changed", "rule", "detail"),
    [
        ({"service": "other"}, Rule.SERVICE, "the pod is not one of legal/chat"),
        ({"service": ""}, Rule.SERVICE, "the pod is not one of legal/chat"),
        ({"namespace": "hr"}, Rule.SERVICE, "the pod is not one of legal/chat"),
        ({"uid": ""}, Rule.SERVICE, "the pod is not one of legal/chat"),
        ({"address": ""}, Rule.SERVICE, "the pod has no address yet"),
        ({"port": 0}, Rule.SERVICE, "the pod has no address yet"),
        ({"class_label": ""}, Rule.CLASS, "the class that the pod was made for is not known"),
        ({"class_label": "cosmic"}, Rule.CLASS, "the class that the pod was made for is not known"),
        ({"site": ""}, Rule.SITE, "the pod is at another site than tokyo"),
        ({"site": "osaka"}, Rule.SITE, "the pod is at another site than tokyo"),
        ({"attested": Held(0.0)}, Rule.ATTESTATION, "it has not proven to the broker what it is"),
        ({"attested": Held(AT)}, Rule.ATTESTATION, "it has not proven to the broker what it is"),
        ({"released": Held(AT - 1)}, Rule.KEY, "its lease of the key has ended, or it has none"),
        ({"proven_at": 0.0}, Rule.ISOLATION, "it has not proven that it is isolated"),
        ({"proven_at": AT - 241}, Rule.ISOLATION, "its last proof of isolation is older than 240 s"),
        ({"proven_at": AT + 61}, Rule.ISOLATION,
         "its last proof of isolation is 61 s ahead of this gateway's clock, 60 are allowed"),
        ({"ended": True}, Rule.ENDING, "it is ending"),
        ({"ready": False}, Rule.READINESS, "it is not ready"),
    ],
)  # fmt: skip
def test_a_replica_is_left_out_for_what_it_lacks(changed: dict[str, Any], rule: Rule, detail: str) -> None:
    assert rule_of(build_replica(**changed)) == (rule, detail)


def test_a_pod_made_for_a_lower_class_or_without_a_compartment_is_left_out() -> None:
    detail = "the pod was made for internal, the request is secret"
    assert rule_of(build_replica(class_label="internal"), build_demand("secret")) == (Rule.CLASS, detail)
    detail = "the pod was made for secret, the request is internal+hr"
    assert rule_of(build_replica(class_label="secret"), build_demand("internal", "hr")) == (Rule.CLASS, detail)


@pytest.mark.parametrize(
    ("changed", "rule", "detail"),
    [
        ({"site": ""}, Rule.SITE, "the site of the service is not known"),
        ({"place": Place()}, Rule.TIER, "class secret does not allow tier (not known) of site tokyo"),
        ({"place": Place("OwnCloud", "JP")}, Rule.TIER, "class secret does not allow tier OwnCloud of site tokyo"),
        ({"tier": "OwnCloud"}, Rule.TIER, "the tier of site tokyo changed from OwnCloud to Closed meanwhile"),
        ({"place": Place("Closed", "US")}, Rule.JURISDICTION,
         "class secret does not allow jurisdiction US of site tokyo"),
        ({"place": Place("Closed")}, Rule.JURISDICTION,
         "class secret does not allow jurisdiction (not known) of site tokyo"),
        ({"brokered": True}, Rule.ATTESTATION, "it has not proven to the broker what it is"),
    ],
)  # fmt: skip
def test_a_place_that_the_class_does_not_allow_leaves_nobody(changed: dict[str, Any], rule: Rule, detail: str) -> None:
    replica = build_replica(site="") if changed.get("site") == "" else build_replica()
    assert rule_of(replica, build_demand("secret", **changed)) == (rule, detail)


def test_where_a_broker_releases_keys_both_of_its_words_are_wanted_and_must_hold() -> None:
    demand = build_demand(brokered=True)
    assert rule_of(build_replica(attested=Held(AT + 1)), demand)[0] is Rule.KEY
    held = build_replica(attested=Held(AT + 1), released=Held(AT + 1))
    assert find_exclusion(held, demand, build_now()) is None
    assert rule_of(held, demand, build_now(at=AT + 1))[0] is Rule.ATTESTATION


LATE = "its node has not proven within 600 s what class secret wants proven"


@pytest.mark.parametrize(
    ("proofs", "compartments"),
    [
        ({}, ()),
        ({"tpm": int(AT)}, ()),
        ({"tdx": int(AT) - 601}, ()),
        ({"tdx": int(AT) + 61}, ()),
        ({"tdx": int(AT) - 60}, ("gpu",)),
        ({"tdx": int(AT) - 60, "nvidia-cc": int(AT) - 601}, ("gpu",)),
        ({"tdx": int(AT), "snp": int(AT), "tpm": int(AT)}, ("odd",)),
    ],
)  # fmt: skip
def test_a_node_without_a_fresh_proof_of_each_kind_leaves_its_pods_out(
    proofs: dict[str, int], compartments: tuple[str, ...]
) -> None:
    rule, detail = rule_of(build_replica(), build_demand("secret", *compartments), build_now(proofs))
    assert rule is Rule.TRUST
    assert detail.startswith(LATE.split(" class", maxsplit=1)[0])


def test_the_age_of_trust_is_that_of_the_oldest_proof_that_counts() -> None:
    proofs = {"tdx": int(AT) - 500, "snp": int(AT) - 100, "nvidia-cc": int(AT) - 300}
    assert find_trust_age(build_replica(), build_demand("secret"), build_now(proofs)) == 100
    assert find_trust_age(build_replica(), build_demand("secret", "gpu"), build_now(proofs)) == 300
    assert find_trust_age(build_replica(), build_demand(), build_now(proofs)) is None


def test_only_the_filters_make_a_replica_eligible() -> None:
    with pytest.raises(TypeError, match="only the filters say who is eligible"):
        Eligible(build_replica(), object())


def test_replicas_that_failed_are_left_out_last_and_never_all_of_them() -> None:
    first, second = build_replica("a"), build_replica("b")
    eligible, excluded = filter_replicas([first, second], build_demand(), build_now(shunned=frozenset({"uid-a"})))
    assert [item.replica for item in eligible] == [second]
    assert [(item.replica, item.rule, item.detail) for item in excluded] == [
        (first, Rule.HEALTH, "it failed a moment ago")
    ]
    both = frozenset({"uid-a", "uid-b"})
    eligible, excluded = filter_replicas([first, second], build_demand(), build_now(shunned=both))
    assert ([item.replica for item in eligible], excluded) == ([first, second], ())


def test_that_nobody_is_left_is_told_by_counts_and_names_no_pod() -> None:
    replicas = [build_replica("a", ready=False), build_replica("b", ready=False), build_replica("c", proven_at=0.0)]
    _, excluded = filter_replicas(replicas, build_demand(), build_now())
    assert describe_exclusions(excluded) == ("1 of 3: it has not proven that it is isolated; 2 of 3: it is not ready")
    assert describe_exclusions(()) == "it has no pod"


# What a replica must satisfy, worked out once more and from the requirement alone.
def may_answer(replica: Replica, demand: Demand, now: Now) -> bool:
    ranks = {"internal": 0, "secret": 1}
    level, *names = replica.class_label.split(".")
    high = ranks.get(level, -1) >= demand.value.rank and set(names) >= demand.value.compartments
    place = demand.place.tier == "Closed" or (demand.value.level == "internal" and demand.place.tier == "OwnCloud")
    law = demand.value.level == "internal" or demand.place.jurisdiction == "JP"
    nodes = now.proofs.get(replica.node, {})
    trusted = demand.value.level == "internal" or any(
        AT - 600 <= nodes.get(tee, 0) <= AT + 60 for tee in ("tdx", "snp")
    )
    held = [item for item in (replica.attested, replica.released) if item is not None]
    leased = all(item.ends_at > AT for item in held) and (not demand.brokered or len(held) == 2)
    return all((
        high, place, law, trusted, leased, replica.site == demand.site == "tokyo", replica.ready, not replica.ended,
        AT - 240 <= replica.proven_at <= AT + 60, replica.service == "chat", replica.address,
    ))  # fmt: skip


HELD = st.sampled_from([None, Held(0.0), Held(AT - 1), Held(AT + 300)])
REPLICAS = st.builds(
    build_replica,
    name=st.sampled_from("abcd"),
    class_label=st.sampled_from(["secret.hr", "secret", "internal.hr", "internal", "", "x"]),
    site=st.sampled_from(["tokyo", "tokyo", "osaka", ""]), node=st.sampled_from(["n1", "n2"]),
    ended=st.sampled_from([False, False, True]), ready=st.sampled_from([True, True, False]),
    proven_at=st.sampled_from([AT - 30, AT - 30, AT - 300, 0.0, AT + 100]), attested=HELD, released=HELD,
    service=st.sampled_from(["chat", "chat", "other"]), address=st.sampled_from(["10.0.0.1", "10.0.0.1", ""]),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.lists(REPLICAS, max_size=5),
    st.sampled_from(["internal", "secret"]),
    st.booleans(),
    st.sampled_from([Place("Closed", "JP"), Place("OwnCloud", "JP"), Place("Closed", "US"), Place()]),
    st.booleans(),
    st.sampled_from([{}, {"tdx": int(AT) - 60}, {"snp": int(AT) - 900}]),
    st.sets(st.sampled_from(["uid-a", "uid-b"])),
)
def test_whoever_is_eligible_may_answer_and_everybody_else_has_a_reason(
    replicas: list[Replica], level: str, compartment: bool, place: Place, brokered: bool, proofs: Any, shunned: set[str]
) -> None:
    demand = build_demand(level, *(["hr"] if compartment else []), place=place, brokered=brokered)
    now = Now(AT, 240.0, {"n1": proofs}, frozenset(shunned))
    eligible, excluded = filter_replicas(replicas, demand, now)
    allowed: Callable[[Replica], bool] = lambda item: may_answer(item, demand, now)  # noqa: E731
    assert all(allowed(item.replica) for item in eligible)
    assert len(eligible) + len(excluded) == len(replicas)
    assert bool(eligible) == any(map(allowed, replicas))
    assert all(item.rule is Rule.HEALTH or not allowed(item.replica) for item in excluded)


@pytest.mark.parametrize(
    ("demand", "detail"),
    [
        (build_demand("secret"), None),
        (build_demand(site=""), "the site of the service is not known"),
        (
            build_demand("secret", place=Place("OwnCloud", "JP")),
            "class secret does not allow tier OwnCloud of site tokyo",
        ),
        (
            build_demand("secret", place=Place("Closed", "US")),
            "class secret does not allow jurisdiction US of site tokyo",
        ),
        (build_demand(place=Place()), "class internal does not allow tier (not known) of site tokyo"),
    ],
)
def test_a_site_says_whether_any_pod_there_could_answer(demand: Demand, detail: str | None) -> None:
    assert find_misplacement(demand) == detail
