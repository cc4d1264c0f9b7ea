"""Decisions about classes: a header can only raise; nothing passes above what service and caller are cleared for."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.classify.lattice import UNLABELLED_SOURCE, DataClass, Floor
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.decide import (
    Backend,
    Ceiling,
    Law,
    RequestClass,
    ServiceFacts,
    check_ceiling,
    check_cleared,
    check_user,
    decide_class,
    is_cleared,
    is_user,
    levels_that_grant,
    read_law,
    read_service,
)
from tests.unit.gateway.house import POLICY, build_service

LAW: Law = read_law(POLICY, "sha256:0")
LEVELS = LAW.lattice.levels
CLASSES = st.builds(
    lambda level, names: LAW.lattice.resolve(level, names, source="test"),
    st.sampled_from(LEVELS),
    st.sets(st.sampled_from(sorted(LAW.lattice.compartments))),
)


def serve(data_class: DataClass) -> ServiceFacts:
    return read_service(build_service(level=data_class.level, compartments=tuple(data_class.compartments)))


@given(CLASSES, CLASSES)
def test_a_header_raises_or_is_refused_and_never_lowers(cleared: DataClass, said: DataClass) -> None:
    if cleared.dominates(said):
        assert decide_class(LAW, serve(cleared), said.label()).value == cleared
        return
    with pytest.raises(RefusedError) as refusal:
        decide_class(LAW, serve(cleared), said.label())
    assert refusal.value.reason is Reason.CLASS_ABOVE_SERVICE
    assert f"says {said})" in refusal.value.message
    assert f"is cleared for {cleared}." in refusal.value.message


@given(CLASSES, st.sampled_from([None, *LEVELS]), st.sets(st.sampled_from(sorted(LAW.lattice.compartments))))
def test_a_class_passes_only_below_the_ceiling(wanted: DataClass, level: str | None, names: set[str]) -> None:
    ceiling = Ceiling(level, frozenset(names))
    if level is not None and LEVELS.index(level) >= wanted.rank and names >= wanted.compartments:
        check_ceiling(LAW.lattice, wanted, ceiling)
        return
    with pytest.raises(RefusedError) as refusal:
        check_ceiling(LAW.lattice, wanted, ceiling)
    assert refusal.value.reason is Reason.CLASS_ABOVE_CEILING
    assert f"the request is {wanted}; your ceiling is" in refusal.value.message


@given(CLASSES)
def test_a_level_is_granted_by_itself_and_every_higher_one(wanted: DataClass) -> None:
    assert levels_that_grant(LAW.lattice, wanted) == LEVELS[wanted.rank :]


def test_a_service_of_a_class_that_the_policy_no_longer_knows_is_not_ready() -> None:
    with pytest.raises(UnavailableError) as refusal:
        decide_class(LAW, read_service(build_service(level="secret")), None)
    assert refusal.value.reason is Reason.MODEL_NOT_READY
    assert 'status of legal/contract-review asks for level "secret"' in refusal.value.message


def test_a_service_whose_class_is_not_decided_is_not_ready() -> None:
    raw = build_service()
    del raw["status"]["class"]
    with pytest.raises(UnavailableError, match="its class is not decided yet"):
        decide_class(LAW, read_service(raw), None)


def assert_waits(law: Law, raw: dict[str, Any], words: str) -> None:
    with pytest.raises(SekishoError) as refusal:
        decide_class(law, read_service(raw), None)
    assert refusal.value.reason is Reason.MODEL_NOT_READY
    assert words in refusal.value.message


def test_a_label_above_the_decided_class_is_waited_for() -> None:
    raw = build_service(level="internal", compartments=())
    raw["metadata"]["labels"] = {"sekisho.dev/classification": "confidential.gdpr"}
    assert_waits(LAW, raw, "its class is being raised from internal to confidential+gdpr")


def test_what_nobody_labelled_is_waited_for_where_the_policy_says_more_of_it_by_now() -> None:
    raw = build_service(level="internal", compartments=())
    raw["status"]["class"]["from"] = [{"source": "label of the namespace", "level": "internal"}]
    stricter = read_law({**POLICY, "unlabelled": "confidential"}, "sha256:new")
    assert decide_class(stricter, read_service(raw), None).value.level == "internal"
    raw["status"]["class"]["from"] = [{"source": UNLABELLED_SOURCE, "level": "internal"}]
    assert decide_class(LAW, read_service(raw), None).value.level == "internal"
    assert_waits(stricter, raw, "its class is being raised from internal to confidential")


def test_floors_that_come_to_more_under_another_policy_are_waited_for() -> None:
    raw = build_service(level="confidential", compartments=())
    raw["status"]["class"]["from"] = [
        {"source": "spec of the service", "level": "confidential"},
        {"source": "label of the namespace", "level": "internal"},
    ]
    assert decide_class(LAW, read_service(raw), None).value.level == "confidential"
    order = {item["name"]: item for item in POLICY["levels"]}
    swapped = [*(item for name, item in order.items() if name != "internal"), order["internal"]]
    with pytest.raises(SekishoError, match="its class is being raised from confidential to internal"):
        decide_class(read_law({**POLICY, "levels": swapped}, "sha256:new"), read_service(raw), None)


def test_an_address_is_spelt_as_urls_have_it() -> None:
    assert Backend("10.0.0.7", 8081, "a/b").authority == "10.0.0.7:8081"
    assert Backend("fd00::7", 8081, "a/b").authority == "[fd00::7]:8081"


ACCOUNT = "system:serviceaccount:legal:app"


def answer(users: list[str], granted: list[str] | None = None) -> ServiceFacts:
    raw = build_service(spec={"users": users})
    if granted is not None:
        raw["status"]["users"] = granted
    return read_service(raw)


@pytest.mark.parametrize(
    ("users", "username", "groups", "named"),
    [
        ([], "ann", [], True),
        (["user:ann"], "ann", [], True),
        (["user:ann"], "Ann", [], False),
        (["user:ann"], "bob", ["ann"], False),
        (["group:legal"], "bob", ["web", "legal"], True),
        (["group:legal"], "legal", ["web"], False),
        (["group:bob"], "bob", [], False),
        (["serviceaccount:legal:app"], ACCOUNT, [], True),
        (["serviceaccount:legal:app"], "legal:app", [], False),
        (["serviceaccount:legal:app"], "system:serviceaccount:web:app", [], False),
        (["serviceaccount:legal:app"], f"{ACCOUNT}:x", [], False),
        (["serviceaccount:legal:app"], f"x{ACCOUNT}", [], False),
        (["serviceaccount:legal:"], "system:serviceaccount:legal:", [], False),
        ([f"user:{ACCOUNT}"], ACCOUNT, [], True),
        (["group:system:serviceaccounts:legal"], ACCOUNT, ["system:serviceaccounts:legal"], True),
    ],
)
def test_a_service_answers_whom_it_names(users: list[str], username: str, groups: list[str], *, named: bool) -> None:
    service = answer(users)
    assert is_user(service, username, groups) is named
    if named:
        check_user(service, username, groups)
        return
    with pytest.raises(RefusedError) as refusal:
        check_user(service, username, groups)
    assert refusal.value.reason is Reason.NOT_ALLOWED
    assert refusal.value.message == (
        f"spec.users of legal/contract-review names neither you ({username}) nor a group of yours; who answers for the "
        "service adds you, where it should be so"
    )


@pytest.mark.parametrize(
    ("users", "granted", "named"),
    [
        (["group:legal"], ["group:legal"], True),
        (["group:legal"], [], False),
        (["group:legal"], ["group:web"], False),
        ([], ["group:legal"], True),
        ([], [], False),
        (["user:ann"], ["group:legal"], False),
        (["user:ann", "group:legal"], ["user:ann"], True),
    ],
)
def test_where_a_key_is_guarded_only_whom_its_grants_name_too_is_answered(
    users: list[str], granted: list[str], *, named: bool
) -> None:
    service = answer(users, granted)
    assert is_user(service, "ann", ["legal"]) is named
    if not named:
        with pytest.raises(RefusedError) as refusal:
            check_user(service, "ann", ["legal"])
        assert refusal.value.message.startswith(
            "spec.users, as far as owner and tenant of its model grant them, of legal/contract-review names neither you"
        )


def test_a_name_that_is_very_long_is_told_within_bounds() -> None:
    with pytest.raises(RefusedError) as refusal:
        check_user(answer(["user:ann"]), "n" * 10_000, [])
    assert len(refusal.value.message) < 512


def read_told(**told: tuple[str, str]) -> ServiceFacts:
    """Read a service whose conditions are these: (status, reason) by type."""
    raw = build_service()
    raw["status"]["conditions"] = [
        {"type": kind, "status": status, "reason": reason, "message": "m"} for kind, (status, reason) in told.items()
    ]
    return read_service(raw)


DECIDED = {"Accepted": ("True", "Accepted"), "Placed": ("True", "Placed")}
STARTING, PENDING = ("False", "EngineStarting"), ("Unknown", "IsolationPending")


def test_a_service_of_which_some_pods_start_is_told_apart_pod_by_pod() -> None:
    facts = read_told(**DECIDED, Isolated=PENDING, Ready=STARTING)
    assert (facts.unmet, facts.waits) == (None, "Isolated is Unknown: IsolationPending: m")
    facts = read_told(**DECIDED, Isolated=("True", "IsolationProven"), Ready=STARTING)
    assert (facts.unmet, facts.waits) == (None, "Ready is False: EngineStarting: m")
    facts = read_told(**DECIDED, Isolated=("True", "IsolationProven"), Ready=("True", "Ready"))
    assert (facts.unmet, facts.waits, facts.brokered) == (None, None, False)


@pytest.mark.parametrize(
    "told",
    [
        DECIDED | {"Isolated": ("False", "ForeignNetworkPolicy"), "Ready": STARTING},
        DECIDED | {"Isolated": ("False", "IsolationLeak"), "Ready": STARTING},
        DECIDED | {"Isolated": PENDING, "Ready": ("False", "NetworkPolicyNotObserved")},
        DECIDED | {"Isolated": PENDING, "Ready": ("False", "TrustTooOld")},
        DECIDED | {"Isolated": PENDING, "Ready": ("False", "GrantSuspended")},
        DECIDED | {"Isolated": PENDING, "Ready": ("False", "of nobody")},
        DECIDED | {"Isolated": PENDING, "Ready": STARTING, "Serving": ("False", "Stopped")},
        DECIDED | {"Isolated": PENDING, "Ready": STARTING, "Placed": ("False", "TierNotAllowed")},
        DECIDED | {"Isolated": PENDING, "Ready": STARTING, "Accepted": ("Unknown", "WeightsPending")},
        {"Placed": ("True", "Placed"), "Isolated": PENDING, "Ready": STARTING},
        DECIDED | {"Isolated": PENDING},
        DECIDED | {"Ready": ("True", "Ready")},
    ],
)  # fmt: skip
def test_what_holds_for_all_pods_of_a_service_stops_all_of_them(told: dict[str, tuple[str, str]]) -> None:
    facts = read_told(**told)
    assert facts.waits is None
    assert facts.unmet is not None


def test_what_holds_for_all_pods_is_told_before_what_some_have_before_them() -> None:
    assert read_told(**DECIDED, Isolated=PENDING, Ready=("False", "GrantSuspended")).unmet == (
        "Ready is False: GrantSuspended: m"
    )
    leaks = ("False", "IsolationLeak")
    assert read_told(**DECIDED, Isolated=leaks, Ready=STARTING).unmet == "Isolated is False: IsolationLeak: m"


def test_a_service_that_tells_of_released_keys_is_one_whose_pods_need_one() -> None:
    assert read_told(**DECIDED, KeyReleased=("Unknown", "Pending")).brokered


# Three laws, of which the last knows fewer levels and other compartments; each is kept, as a gateway keeps it.
SPECS: tuple[dict[str, Any], ...] = (
    POLICY,
    POLICY | {"levels": [{"name": "public"}, *POLICY["levels"][1:]]},
    {"unlabelled": "internal", "levels": [{"name": "internal"}], "compartments": [{"name": "gdpr"}]},
)
NAMES = st.sets(st.sampled_from(["gdpr", "pii", "hr"]), max_size=2)
ASKED = st.tuples(st.sampled_from(["public", "internal", "confidential", "secret", ""]), NAMES)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(range(len(SPECS))),
        st.sampled_from(range(3)),
        st.one_of(st.none(), ASKED.map(lambda asked: ".".join([asked[0], *sorted(asked[1])]))),
        st.one_of(st.none(), ASKED),
        st.booleans(),
    ),
    min_size=2,
    max_size=8,
)


def tell(law: Law, service: ServiceFacts, header: str | None, found: tuple[str, set[str]] | None) -> list[str]:
    """Spell whatever is decided, refusals with their words."""
    told: list[str] = []
    try:
        floors = [Floor("found", law.lattice.resolve(*found, source="found"))] if found is not None else []
        decided = decide_class(law, service, header, floors)
        told += [str(decided), str(is_cleared(law, service, decided.value))]
        check_cleared(law, service, decided)
    except SekishoError as error:
        told += [error.reason, error.message]
    return told


@settings(deadline=None, max_examples=60)
@given(CHANGES)
def test_what_is_remembered_of_a_service_is_what_would_be_decided_anew_whatever_changes(
    changes: list[tuple[int, int, str | None, tuple[str, set[str]] | None, bool]],
) -> None:
    kept = [read_law(spec, "sha256:0") for spec in SPECS]
    services: dict[int, ServiceFacts] = {}
    for number, which, header, asked, anew in changes:
        if anew or which not in services:
            level, names = asked or ("internal", set())
            # As a watch does: an object of the same name in the place of the one before.
            services[which] = read_service(build_service(level=level or "internal", compartments=tuple(sorted(names))))
        found = None if anew else asked
        fresh = read_law(SPECS[number], "sha256:0")
        once = tell(fresh, services[which], header, found)
        for law in (kept[number], kept[number], fresh):
            assert tell(law, services[which], header, found) == once


def test_of_more_services_than_are_remembered_each_is_decided_by_itself() -> None:
    law = read_law(POLICY, "sha256:0")
    for number in range(1100):
        level = LEVELS[number % len(LEVELS)]
        service = replace(serve(law.lattice.resolve(level, source="test")), name=f"s{number}")
        expected = RequestClass(
            law.lattice.resolve(level, source="test"),
            (Floor(f"service legal/s{number}", law.lattice.resolve(level, source="test")),),
        )
        assert decide_class(law, service, None) == expected
        assert len(law.known) <= 1024
