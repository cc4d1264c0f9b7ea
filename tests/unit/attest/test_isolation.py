import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.attest.isolation import (
    MAX_PROOF_BYTES,
    MAX_RESULTS,
    OUTCOMES,
    PROTOCOLS,
    CanaryResult,
    ExpectedCanary,
    IsolationProof,
    appraise_isolation,
    encode_proof,
    is_sealed_datagram,
    parse_canaries,
    parse_proof,
    seal_datagram,
)
from sekisho.errors import Reason, RefusedError

NOW = 1_800_000_000.0
EXPECTED = (
    ExpectedCanary("outside", "203.0.113.10", 80, ("tcp", "udp", "icmp")),
    ExpectedCanary("node", "10.9.0.2", 10250, ("tcp",)),
)
GOOD = IsolationProof(
    NOW,
    tuple(CanaryResult(c.name, c.host, c.port, p, "blocked", "silent", 1000.0) for c in EXPECTED for p in c.protocols),
)


def build_proof(index: int, **changes: object) -> IsolationProof:
    results = list(GOOD.results)
    results[index] = replace(results[index], **changes)  # type: ignore[arg-type]
    return IsolationProof(NOW, tuple(results))


def appraise(proof: IsolationProof, expected: tuple[ExpectedCanary, ...] = EXPECTED, *, now_at: float = NOW):
    return appraise_isolation(proof, expected, now_at=now_at, max_age_seconds=90)


def test_a_canary_that_answered_is_a_leak_that_names_address_protocol_and_time() -> None:
    verdict = appraise(build_proof(2, outcome="reached", detail="echo reply", milliseconds=12.3))
    assert (verdict.ok, verdict.reason) == (False, Reason.ISOLATION_LEAK)
    assert 'canary "outside" (203.0.113.10 port 80) answered by icmp after 12 ms: echo reply' in verdict.message


def test_a_leak_of_a_canary_nobody_asked_for_is_still_a_leak() -> None:
    extra = CanaryResult("other", "192.0.2.1", 1, "tcp", "reached")
    verdict = appraise(IsolationProof(NOW, (*GOOD.results, extra)))
    assert verdict.reason is Reason.ISOLATION_LEAK
    assert 'canary "other"' in verdict.message
    assert "no detail" in verdict.message


def test_a_leak_in_an_old_proof_is_a_leak_and_not_merely_old() -> None:
    verdict = appraise(build_proof(0, outcome="reached"), now_at=NOW + 10_000)
    assert verdict.reason is Reason.ISOLATION_LEAK


def test_of_many_leaks_the_first_is_told_in_full_the_next_by_name_and_the_rest_counted() -> None:
    results = tuple(CanaryResult(f"c{i}", "192.0.2.1", i, "tcp", "reached", "x") for i in range(11))
    message = appraise(IsolationProof(NOW, results)).message
    assert (
        'canary "c0" (192.0.2.1 port 0) answered by tcp after 0 ms: x; also answered: c1 by tcp, c2 by tcp' in message
    )
    assert "c8 by tcp and 2 more; nothing outside the pod" in message
    assert "c9" not in message
    told = appraise(IsolationProof(NOW, results[:9])).message
    assert told.endswith(
        "c8 by tcp; nothing outside the pod but the depot may be reachable: check that NetworkPolicies are enforced"
    )


@pytest.mark.parametrize("index", range(len(GOOD.results)))
def test_a_missing_attempt_makes_the_proof_incomplete(index: int) -> None:
    results = GOOD.results[:index] + GOOD.results[index + 1 :]
    verdict = appraise(IsolationProof(NOW, results))
    gone = GOOD.results[index]
    assert (verdict.ok, verdict.reason) == (False, Reason.ISOLATION_PROOF_INCOMPLETE)
    assert verdict.message == f'canary "{gone.canary}" ({gone.host} port {gone.port}) was not tried by {gone.protocol}'


def test_an_attempt_that_failed_by_itself_does_not_count_as_blocked() -> None:
    verdict = appraise(build_proof(1, outcome="error", detail="no permission to open a ping socket"))
    assert verdict.reason is Reason.ISOLATION_PROOF_INCOMPLETE
    assert verdict.message.endswith("could not be tried by udp: no permission to open a ping socket")
    assert appraise(build_proof(1, outcome="error", detail="")).message.endswith("no detail")


@pytest.mark.parametrize("changes", [{"host": "127.0.0.1"}, {"port": 81}])
def test_an_attempt_at_another_address_than_the_configured_one_does_not_count(changes: dict[str, object]) -> None:
    verdict = appraise(build_proof(0, **changes))
    assert verdict.reason is Reason.ISOLATION_PROOF_INCOMPLETE
    assert "was not tried by tcp" in verdict.message


def test_without_any_configured_canary_nothing_is_proven() -> None:
    verdict = appraise(GOOD, ())
    assert verdict.reason is Reason.ISOLATION_PROOF_INCOMPLETE
    assert verdict.message == (
        "no canary is configured, so nothing was proven; configure at least one canary address"
    )  # fmt: skip


def test_a_canary_without_a_protocol_proves_nothing() -> None:
    verdict = appraise(GOOD, (ExpectedCanary("empty", "192.0.2.1", 1, ()),))
    assert verdict.reason is Reason.ISOLATION_PROOF_INCOMPLETE
    assert verdict.message == 'canary "empty" names no protocol; it proves nothing'


def test_an_old_proof_is_stale_with_its_age_and_the_allowed_age() -> None:
    verdict = appraise(GOOD, now_at=NOW + 91)
    assert (verdict.ok, verdict.reason) == (False, Reason.ISOLATION_PROOF_STALE)
    assert verdict.message.startswith("the proof is 91 s old, 90 s allowed")


def test_a_proof_from_the_future_is_refused() -> None:
    verdict = appraise(GOOD, now_at=NOW - 61)
    assert (verdict.ok, verdict.reason) == (False, Reason.ISOLATION_PROOF_STALE)
    assert verdict.message == "the proof is 61 s in the future, 60 s allowed; check the node's clock"
    assert appraise(GOOD, now_at=NOW - 60).ok


def test_a_proof_of_just_now_is_old_where_no_age_is_allowed() -> None:
    verdict = appraise_isolation(GOOD, EXPECTED, now_at=NOW + 0.5, max_age_seconds=0)
    assert verdict.message == "the proof is 0 s old, 0 s allowed; check the node's clock"


def test_however_many_canaries_stayed_silent_the_message_has_its_bounds() -> None:
    expected = tuple(ExpectedCanary(f"{index:n>63}", "192.0.2.1", 1, ("tcp",)) for index in range(32))
    results = tuple(CanaryResult(each.name, each.host, each.port, "tcp", "blocked") for each in expected)
    verdict = appraise(IsolationProof(NOW, results), expected)
    assert verdict.ok
    assert len(verdict.message) == 1024


def test_a_proof_in_which_every_canary_stayed_silent_holds() -> None:
    verdict = appraise(GOOD, now_at=NOW + 90)
    assert (verdict.ok, verdict.reason) == (True, Reason.ISOLATION_PROVEN)
    assert verdict.message == "4 attempts from inside the pod stayed without an answer: outside, node"


def raw(**changes: object) -> dict[str, object]:
    return {"canary": "a", "host": "192.0.2.1", "port": 1, "protocol": "tcp", "outcome": "blocked"} | changes


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"x" * (MAX_PROOF_BYTES + 1), f"it has {MAX_PROOF_BYTES + 1} bytes, {MAX_PROOF_BYTES} allowed"),
        (b"{", "it is not JSON"),
        (b"[" * 20000, "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[]", "it is not an object"),
        ({"at": 1}, "results is not a list"),
        (
            {"at": 1, "results": [raw(canary=str(i)) for i in range(MAX_RESULTS + 1)]},
            "a list of at most 96",
        ),
        ({"at": 1, "results": [1]}, "a result is not an object"),
        ({"at": 1, "results": [raw(protocol="sctp")]}, "protocol is not one of"),
        ({"at": 1, "results": [raw(protocol=["tcp"])]}, "protocol is not one of"),
        ({"at": 1, "results": [raw(outcome="fine")]}, "outcome is not one of"),
        ({"at": 1, "results": [raw(port=65536)]}, "port is not between 0 and 65535"),
        ({"at": 1, "results": [raw(port=1.5)]}, "port is not a whole number"),
        ({"at": 1, "results": [raw(port=True)]}, "port is not a number"),
        ({"at": 1, "results": [raw(canary=None)]}, "canary is not a printable text"),
        ({"at": 1, "results": [raw(host="a\nb")]}, "host is not a printable text"),
        ({"at": 1, "results": [raw(detail="x" * 257)]}, "detail is not a printable text of at most 256 characters"),
        ({"at": 1, "results": [raw(milliseconds=float("nan"))]}, "milliseconds is not between"),
        ({"at": 1, "results": [raw(milliseconds=-1)]}, "milliseconds is not between"),
        ({"at": 1, "results": [raw(), raw(port=2)]}, 'canary "a" appears twice for tcp'),
        ({"results": []}, "at is not a number"),
        ({"at": float("inf"), "results": []}, "at is not between"),
        (b'{"at":1%s,"results":[]}' % (b"0" * 400), "at is not between 0 and 100000000000"),
        ({"at": 1, "results": [raw(port=10**400)]}, "port is not between 0 and 65535"),
    ],
)
def test_a_proof_that_is_not_as_it_must_be_is_refused_and_the_field_is_named(data: object, what: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_proof(data if isinstance(data, bytes) else json.dumps(data).encode())
    assert caught.value.reason is Reason.REQUEST_INVALID
    assert what in caught.value.message


@pytest.mark.slow
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_or_refused_never_worse(data: bytes) -> None:
    reason = None
    try:
        parse_proof(data)
    except RefusedError as error:
        reason = error.reason
    assert reason in {None, Reason.REQUEST_INVALID}


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
RESULTS = st.lists(
    st.builds(
        CanaryResult, canary=TEXT, host=TEXT, port=st.integers(0, 65535), protocol=st.sampled_from(PROTOCOLS),
        outcome=st.sampled_from(OUTCOMES), detail=TEXT, milliseconds=st.integers(0, 5000).map(float),
    ),
    max_size=30, unique_by=lambda r: (r.canary, r.protocol),
)  # fmt: skip


@given(RESULTS, st.integers(0, 10**10))
def test_what_was_written_is_read_back_the_same(results: list[CanaryResult], at: int) -> None:
    proof = IsolationProof(float(at), tuple(results))
    assert parse_proof(encode_proof(proof)) == proof


@pytest.mark.slow
@given(RESULTS)
def test_a_proof_holds_only_if_every_expected_attempt_is_there_and_blocked(results: list[CanaryResult]) -> None:
    expected = tuple(ExpectedCanary(r.canary, r.host, r.port, (r.protocol,)) for r in results)
    verdict = appraise(IsolationProof(NOW, tuple(results)), expected)
    assert verdict.ok == (bool(results) and all(r.outcome == "blocked" for r in results))


def test_details_are_cut_and_cleaned_so_that_a_full_proof_always_fits() -> None:
    results = tuple(
        CanaryResult("n" * 63, "f" * 39, 65535, "tcp", "blocked", "é\n" + "x" * 5000, 1000) for _ in range(MAX_RESULTS)
    )
    assert len(encode_proof(IsolationProof(NOW, results))) < MAX_PROOF_BYTES


def test_a_written_detail_is_printable_ascii_and_a_time_has_one_digit_behind_the_point() -> None:
    result = CanaryResult("a", "192.0.2.1", 1, "tcp", "blocked", "é\nno answer\x7f" + "x" * 300, 12.34)
    (read,) = parse_proof(encode_proof(IsolationProof(NOW, (result,)))).results
    assert (read.detail, read.milliseconds) == ("no answer" + "x" * 247, 12.3)


def test_a_proof_may_be_as_large_as_is_allowed_and_say_as_little() -> None:
    full = [raw(canary=f"{index:c>256}", detail="d" * 256, port=65535) for index in range(MAX_RESULTS)]
    data = json.dumps({"at": 1e11, "results": full}).encode()
    assert len(data) < MAX_PROOF_BYTES
    read = parse_proof(data.ljust(MAX_PROOF_BYTES))
    assert (len(read.results), read.at, len(read.results[0].detail)) == (MAX_RESULTS, 1e11, 256)
    (least,) = parse_proof(json.dumps({"at": 0, "results": [raw(port=0)]}).encode()).results
    assert (least.detail, least.milliseconds, least.port) == ("", 0.0, 0)


def test_more_results_than_a_proof_may_hold_are_refused_by_the_writer() -> None:
    with pytest.raises(ValueError, match="at most 96 results, not 97"):
        encode_proof(IsolationProof(NOW, (GOOD.results[0],) * (MAX_RESULTS + 1)))


def canary(**changes: object) -> dict[str, object]:
    return {"name": "node", "host": "$HOST_IP", "port": 10250, "protocols": ["tcp", "icmp"]} | changes


@pytest.mark.parametrize(
    ("items", "what"),
    [
        ({}, "canaries is not a list of at most 32 items"),
        ([canary(name=f"c{i}") for i in range(33)], "canaries is not a list of at most 32 items"),
        ([canary(), canary()], "two canaries have the same name"),
        (["x"], "a canary is not an object"),
        ([canary(name="")], "the name of a canary"),
        ([canary(name="n" * 64)], "the name of a canary"),
        ([canary(port=65536)], 'the port of canary "node"'),
        ([canary(port=0)], 'the port of canary "node"'),
        ([canary(port=True)], 'the port of canary "node"'),
        ([canary(protocols=[])], 'canary "node" names no protocols'),
        ([canary(protocols=["tcp", "tcp"])], 'protocols of canary "node"'),
        ([canary(protocols=["sctp"])], 'protocols of canary "node"'),
        ([canary(host="example.test")], 'the host of canary "node" is not an IP address'),
    ],
)
def test_canaries_that_cannot_be_tried_are_refused_by_name(items: object, what: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_canaries(items, host_ip="10.9.0.2")
    assert caught.value.reason is Reason.INVALID_SPEC
    assert what in caught.value.message


def test_as_many_canaries_with_as_long_names_as_are_allowed_are_read() -> None:
    items = [canary(name=f"{index:n>63}", port=1 if index else 65535) for index in range(31)] + [canary(name="n")]
    read = parse_canaries(items, host_ip="10.9.0.2")
    assert [len(each.name) for each in read] == [63] * 31 + [1]
    assert {each.port for each in read} == {1, 65535, 10250}


def test_a_canary_may_be_tried_by_every_protocol() -> None:
    (read,) = parse_canaries([canary(protocols=["icmp", "tcp", "udp"])], host_ip="10.9.0.2")
    assert read.protocols == ("icmp", "tcp", "udp")


def test_the_address_of_the_node_is_filled_in_for_each_pod() -> None:
    parsed = parse_canaries([canary()], host_ip="10.9.0.2")
    assert parsed == (ExpectedCanary("node", "10.9.0.2", 10250, ("tcp", "icmp")),)


def test_the_key_of_an_agent_is_told_with_its_proof_and_shown_nowhere() -> None:
    proof = replace(GOOD, canary_key=bytes(range(16)))
    assert parse_proof(encode_proof(proof)) == proof
    assert b"canaryKey" not in encode_proof(GOOD)
    assert "canary_key" not in repr(proof)


@pytest.mark.parametrize("key", [7, None, "0" * 31, "0" * 33, "G" * 32, "A" * 32, ["0" * 32]])
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    data = json.dumps({**json.loads(encode_proof(GOOD)), "canaryKey": key}).encode()
    with pytest.raises(RefusedError, match="canaryKey is not 16 bytes in lower hexadecimal digits"):
        parse_proof(data)


def test_a_datagram_is_known_by_its_key_alone() -> None:
    key, nonce = b"k" * 16, b"n" * 16
    sealed = seal_datagram(key, nonce)
    assert is_sealed_datagram(key, sealed)
    assert seal_datagram(key, b"m" * 16) != sealed
    for other in (sealed[:-1], sealed + b"x", b"x" + sealed, sealed[:8] + b"m" * 16 + sealed[24:], sealed[8:], b""):
        assert not is_sealed_datagram(key, other)
    assert not is_sealed_datagram(b"o" * 16, sealed)
