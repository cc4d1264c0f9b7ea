"""Quotes of trust domains and enclaves, verified from the root to every claim."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.eventlog import RUNTIME_EVENT, digest_runtime_event
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.tdx import parse_log, verify_signatures, verify_tdx
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import (
    AT,
    BEGAN,
    CA_SERIAL,
    DEBUG,
    ENDS,
    ISSUED,
    NEXT,
    PCK_SERIAL,
    PLAIN,
    SimulatedTdx,
    level,
    make_key,
    raw_key,
    sign,
    svn_level,
)
from tests.unit.fuzz import attempt, changed

FOUR = SimulatedTdx()
FIVE = SimulatedTdx(version=5, body=3, mr_service_td=b"\x5d" * 48)
SGX = SimulatedTdx(tee="SGX", version=3)
ALL = [FOUR, FIVE, SimulatedTdx(version=5), SGX, replace(SGX, version=4), replace(SGX, version=5)]
IDS = ["TDX 4", "TDX 5 of 1.5", "TDX 5 of 1.0", "SGX 3", "SGX 4", "SGX 5"]
GOOD = FOUR.collateral()
SECOND = timedelta(seconds=1)


def verify(sim: SimulatedTdx = FOUR, **changes: Any) -> Claims:
    return verify_tdx(sim.evidence(**changes), sim.collateral(), at=AT)


def refusal(reason: Reason, act: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.reason is reason
    return caught.value.message


def bits(*places: int) -> bytes:
    return sum(1 << place for place in places).to_bytes(8, "little")


# What must be refused, and why


def test_a_quote_below_another_root_is_refused() -> None:
    other = SimulatedTdx(world="second")
    act = lambda: verify_tdx(other.evidence(), GOOD, at=AT)  # noqa: E731
    refusal(Reason.EVIDENCE_UNTRUSTED, act)
    refusal(Reason.COLLATERAL_MISSING, lambda: verify_tdx(FOUR.evidence(), replace(GOOD, roots=()), at=AT))


def test_a_quote_without_certificates_is_refused_and_with_some_beside_it_accepted() -> None:
    bare = FOUR.evidence(certification=3)
    message = refusal(Reason.EVIDENCE_INVALID, lambda: verify_tdx(bare, GOOD, at=AT))
    assert message == "the quote comes without its PCK certificate; send the chain along, leaf first"
    along = replace(bare, certificates=(FOUR.pck, FOUR.ca))
    assert verify_tdx(along, GOOD, at=AT).chip_id == FOUR.ppid
    other = SimulatedTdx(world="second")
    foreign = replace(bare, certificates=(other.pck, other.ca, other.root))
    refusal(Reason.EVIDENCE_UNTRUSTED, lambda: verify_tdx(foreign, GOOD, at=AT))
    # what stands in the quote counts, not what came beside it
    assert verify_tdx(replace(FOUR.evidence(), certificates=(b"junk",)), GOOD, at=AT).chip_id == FOUR.ppid


@pytest.mark.parametrize("serial", [CA_SERIAL, PCK_SERIAL])
def test_a_revoked_certificate_is_refused(serial: int) -> None:
    collateral = FOUR.collateral(revoked=(serial,))
    assert "was revoked by" in refusal(Reason.EVIDENCE_REVOKED, lambda: verify_tdx(FOUR.evidence(), collateral, at=AT))


@pytest.mark.parametrize("kept", [0, 1], ids=["root's only", "CA's only"])
def test_a_missing_revocation_list_is_refused(kept: int) -> None:
    collateral = replace(GOOD, crls=(GOOD.crls[kept],))
    assert refusal(Reason.COLLATERAL_MISSING, lambda: verify_tdx(FOUR.evidence(), collateral, at=AT)) == (
        "there is no revocation list of every issuer of the PCK certificate; import those of the root and the PCK CA"
    )


@pytest.mark.parametrize("at", [ISSUED - SECOND, NEXT + SECOND], ids=["future", "expired"])
def test_collateral_from_another_time_is_refused(at: Any) -> None:
    wide = (ISSUED - 2 * SECOND, NEXT + 2 * SECOND)
    lists = FOUR.collateral(statement_window=wide)
    info, identity = FOUR.collateral(list_window=wide), FOUR.collateral(list_window=wide, statement_window=wide)
    cases = [lists, replace(identity, tcb_infos=info.tcb_infos), replace(identity, qe_identities=info.qe_identities)]
    for collateral in cases:
        refusal(Reason.COLLATERAL_EXPIRED, lambda c=collateral: verify_tdx(FOUR.evidence(), c, at=at))
    assert verify_tdx(FOUR.evidence(), identity, at=at).tee is Tee.TDX


@pytest.mark.parametrize(("window", "name"), [((AT + SECOND, ENDS), "future"), ((BEGAN, AT - SECOND), "expired")])
def test_certificates_from_another_time_are_refused(window: Any, name: str) -> None:
    del name
    refusal(Reason.EVIDENCE_UNTRUSTED, lambda: verify_tdx(FOUR.evidence(window=window), GOOD, at=AT))


def test_a_leaf_that_is_no_pck_is_refused() -> None:
    named = FOUR.evidence(pck_name="Intel SGX TCB Signing")
    message = refusal(Reason.EVIDENCE_UNTRUSTED, lambda: verify_tdx(named, GOOD, at=AT))
    assert message.startswith('the quote is certified by "')
    assert message.endswith('", which is no PCK certificate')
    plain = FOUR.evidence(pck_extension=b"")
    assert "which is no PCK certificate" in refusal(Reason.EVIDENCE_UNTRUSTED, lambda: verify_tdx(plain, GOOD, at=AT))
    broken = FOUR.evidence(pck_extension=b"\x30\x00")
    message = refusal(Reason.EVIDENCE_INVALID, lambda: verify_tdx(broken, GOOD, at=AT))
    assert message == "the PCK certificate's extension has no entry 2 of the type that it must have"


def put(quote: bytes, place: int, new: bytes) -> UnverifiedEvidence:
    return UnverifiedEvidence("tdx", quote[:place] + new + quote[place + len(new) :])


SIGNED = 48 + 584
PLACES = {
    "signature": (SIGNED + 4, "the quote is not signed by its attestation key"),
    "key": (SIGNED + 4 + 64, "the attestation key is not the one that the quoting enclave reported"),
    "QE report": (SIGNED + 4 + 134, "the report of the quoting enclave is not signed by the platform's PCK"),
    "QE signature": (SIGNED + 4 + 134 + 384, "the report of the quoting enclave is not signed by the platform's PCK"),
    "QE data": (SIGNED + 4 + 134 + 450, "the attestation key is not the one that the quoting enclave reported"),
    "user data": (30, "the quote is not signed by its attestation key"),
    "MRTD": (48 + 136, "the quote is not signed by its attestation key"),
    "report data": (48 + 520, "the quote is not signed by its attestation key"),
}


@pytest.mark.parametrize("part", [*PLACES])
def test_each_signature_is_checked(part: str) -> None:
    place, message = PLACES[part]
    evidence = put(FOUR.quote(), place, b"\x01\x02\x03\x04")
    assert refusal(Reason.EVIDENCE_UNTRUSTED, lambda: verify_tdx(evidence, GOOD, at=AT)) == message


def test_an_attestation_key_that_is_no_point_is_refused() -> None:
    key = b"\1" * 64
    report = FOUR.qe_report(key)
    quote = put(FOUR.quote(), SIGNED + 4 + 64, key).report
    quote = put(quote, SIGNED + 4 + 134, report + sign("first pck", report)).report
    act = lambda: verify_tdx(UnverifiedEvidence("tdx", quote), GOOD, at=AT)  # noqa: E731
    assert refusal(Reason.EVIDENCE_UNTRUSTED, act) == "the attestation key is no point of P-256"


def test_an_attestation_key_of_another_platform_is_refused() -> None:
    """Its report is signed by that platform's PCK, which this chain does not end in."""
    other = SimulatedTdx(world="second")
    quote = FOUR.quote()
    theirs = other.quote()
    start = SIGNED + 4
    for begins, ends in ((start, start + 128), (start + 134, start + 134 + 482)):
        quote = quote[:begins] + theirs[begins:ends] + quote[ends:]
    act = lambda: verify_tdx(UnverifiedEvidence("tdx", quote), GOOD, at=AT)  # noqa: E731
    message = "the report of the quoting enclave is not signed by the platform's PCK"
    assert refusal(Reason.EVIDENCE_UNTRUSTED, act) == message
    assert raw_key(make_key("second attestation")) in quote


@pytest.mark.parametrize(
    ("collateral", "reason"),
    [
        (SGX.collateral(), Reason.COLLATERAL_MISSING),
        (replace(GOOD, tcb_infos=SGX.collateral().tcb_infos), Reason.COLLATERAL_MISSING),
        (replace(GOOD, qe_identities=()), Reason.COLLATERAL_MISSING),
        (FOUR.collateral(tcb_changes={"fmspc": "00906ED50000"}), Reason.COLLATERAL_MISSING),
        (FOUR.collateral(tcb_changes={"pceId": "0001"}), Reason.COLLATERAL_MISSING),
        (FOUR.collateral(qe_changes={"mrsigner": "11" * 32}), Reason.EVIDENCE_UNTRUSTED),
        (FOUR.collateral(qe_changes={"isvprodid": 1}), Reason.EVIDENCE_UNTRUSTED),
        (FOUR.collateral(tcb_changes={"tdxModuleIdentities": None}), Reason.COLLATERAL_INVALID),
        (FOUR.collateral(tcb_changes={"tcbLevels": [level((255,), 0, ())]}), Reason.TCB_TOO_OLD),
        (FOUR.collateral(tcb_changes={"tcbLevels": [level((), 0, (), "Revoked")]}), Reason.EVIDENCE_REVOKED),
        (FOUR.collateral(qe_changes={"tcbLevels": [svn_level(0, "Revoked")]}), Reason.EVIDENCE_REVOKED),
        (FOUR.collateral(qe_changes={"tcbLevels": [svn_level(9)]}), Reason.TCB_TOO_OLD),
    ],
)
def test_collateral_that_does_not_speak_for_the_quote_refuses_it(collateral: Any, reason: Reason) -> None:
    refusal(reason, lambda: verify_tdx(FOUR.evidence(), collateral, at=AT))


@pytest.mark.parametrize(
    "evidence",
    [FOUR.evidence(td_attributes=DEBUG), SGX.evidence(enclave_attributes=b"\x07" + bytes(15))],
    ids=["TDX", "SGX"],
)
def test_a_debug_environment_of_which_intel_states_nothing_is_refused_as_one(evidence: UnverifiedEvidence) -> None:
    bare = replace(GOOD, tcb_infos=(), qe_identities=())
    message = refusal(Reason.DEBUG_ENABLED, lambda: verify_tdx(evidence, bare, at=AT))
    assert message.startswith("the quote is of a debug environment, which no policy takes; also, there is no identity ")
    expired = FOUR.collateral(statement_window=(BEGAN, ISSUED))
    refusal(Reason.COLLATERAL_EXPIRED, lambda: verify_tdx(FOUR.evidence(td_attributes=DEBUG), expired, at=AT))


def test_attributes_that_nobody_has_defined_are_refused() -> None:
    for place in (*range(8, 16), *range(17, 27)):
        message = refusal(Reason.EVIDENCE_INVALID, lambda place=place: verify(td_attributes=bits(28, place)))
        assert message == (f"the trust domain has attributes {bits(28, place).hex()}, of which some are not defined")


@pytest.mark.parametrize("sim", ALL, ids=IDS)
def test_a_quote_cut_at_any_length_is_refused(sim: SimulatedTdx) -> None:
    quote, collateral = sim.quote(), sim.collateral()
    for length in range(0, len(quote), 13):
        answer = attempt(lambda n=length: verify_tdx(UnverifiedEvidence("tdx", quote[:n]), collateral, at=AT))
        assert isinstance(answer, RefusedError), length


@pytest.mark.parametrize("sim", ALL, ids=IDS)
def test_a_flipped_bit_anywhere_is_refused(sim: SimulatedTdx) -> None:
    quote, collateral = sim.evidence(padding=bytes(8)).report, sim.collateral()
    for place in range(0, len(quote), 11):
        flipped = put(quote, place, bytes((quote[place] ^ 1 << place % 8,)))
        answer = attempt(lambda flipped=flipped: verify_tdx(flipped, collateral, at=AT))
        # the type of TEE of version 3 is signed but says nothing
        assert isinstance(answer, RefusedError), place


@settings(max_examples=60)
@given(changed(FIVE.quote()))
def test_a_changed_quote_never_says_anything_else(quote: bytes) -> None:
    answer = attempt(lambda: verify_tdx(UnverifiedEvidence("tdx", quote), FIVE.collateral(), at=AT))
    assert isinstance(answer, RefusedError) or answer == verify(FIVE)


# What is claimed


def test_every_claim_of_a_trust_domain() -> None:
    claims = verify(FIVE)
    assert claims == Claims(
        tee=Tee.TDX,
        debug=False,
        tcb_status=TcbStatus.UP_TO_DATE,
        measurement=FIVE.mr_td,
        bound_data=FIVE.report_data,
        chip_id=FIVE.ppid,
        evidence_digest=f"sha256:{hashlib.sha256(FIVE.header() + FIVE.quoted_body()).hexdigest()}",
        window=Window(ISSUED, NEXT),
        tcb=claims.tcb,
        registers=tuple((f"rtmr{n}", bytes((0xA0 + n,)) * 48) for n in range(4)),
        configuration=FIVE.mr_config_id,
        advisories=(),
        facts=claims.facts,
    )
    versions = dict(claims.tcb)
    assert claims.tcb == tuple(sorted(versions.items()))
    assert tuple(versions[f"sgx-{n:02d}"] for n in range(1, 17)) == FIVE.components
    assert bytes(versions[f"tdx-{n:02d}"] for n in range(1, 17)) == FIVE.tee_tcb_svn
    assert bytes(versions[f"tdx-now-{n:02d}"] for n in range(1, 17)) == FIVE.tee_tcb_svn2
    rest = {name: value for name, value in versions.items() if not name.startswith(("sgx-", "tdx-"))}
    assert rest == {"pce": 13, "qe": 4, "qe-identity-number": 18, "tcb-evaluation-number": 17}
    assert dict(claims.facts) == {
        "attributes": PLAIN.hex(),
        "cached-keys": "false",
        "dynamic-platform": "true",
        "event-log": "absent",
        "fmspc": "90c06f000000",
        "hgs-plus-prof": "false",
        "icssd": "false",
        "kl": "false",
        "lass": "false",
        "migratable": "false",
        "mrowner": FIVE.mr_owner.hex(),
        "mrownerconfig": FIVE.mr_owner_config.hex(),
        "mrseam": FIVE.mr_seam.hex(),
        "mrservicetd": FIVE.mr_service_td.hex(),
        "mrsignerseam": FIVE.mr_signer_seam.hex(),
        "pceid": "0000",
        "perf-prof": "false",
        "perfmon": "false",
        "pks": "false",
        "platform": "scalable",
        "platform-instance": bytes(range(16, 32)).hex(),
        "pmt-prof": "false",
        "quote-version": "5",
        "relaunch-advised": "false",
        "sept-ve-disable": "true",
        "smt-enabled": "true",
        "tcb-date": "2024-11-13T00:00:00Z",
        "tpa": "false",
        "xfam": FIVE.xfam.hex(),
    }
    assert claims.facts == tuple(sorted(claims.facts))


def test_a_trust_domain_of_1_0_has_no_service_domain_and_nothing_that_runs_now() -> None:
    claims = verify(FOUR)
    assert claims.fact("mrservicetd") is None
    assert claims.fact("quote-version") == "4"
    assert not [name for name, _ in claims.tcb if name.startswith("tdx-now")]


@pytest.mark.parametrize(
    ("place", "fact"),
    [
        (4, "hgs-plus-prof"), (5, "perf-prof"), (6, "pmt-prof"), (16, "icssd"), (27, "lass"), (28, "sept-ve-disable"),
        (29, "migratable"), (30, "pks"), (31, "kl"), (62, "tpa"), (63, "perfmon"),
    ],
)  # fmt: skip
def test_each_attribute_is_a_fact(place: int, fact: str) -> None:
    claims = verify(td_attributes=bits(place))
    names = {name for name, value in claims.facts if value == "true"} - {"dynamic-platform", "smt-enabled"}
    assert names == {fact}
    assert claims.debug is (place < 8)


@pytest.mark.parametrize("attributes", [DEBUG, bits(0, 28), bits(4), bits(5, 28), bits(6)])
def test_a_trust_domain_that_is_watched_from_outside_is_a_debug_one(attributes: bytes) -> None:
    assert verify(td_attributes=attributes).debug


def test_attributes_that_do_not_bear_on_security_may_be_new() -> None:
    assert verify(td_attributes=bits(28, 40, 61)).fact("attributes") == bits(28, 40, 61).hex()


@pytest.mark.parametrize("version", [3, 4, 5])
def test_every_claim_of_an_enclave(version: int) -> None:
    sim = replace(SGX, version=version, instance=None, configuration=None, kind=0)
    claims = verify(sim)
    assert (claims.tee, claims.debug, claims.tcb_status) == (Tee.SGX, False, TcbStatus.UP_TO_DATE)
    assert (claims.measurement, claims.configuration, claims.bound_data) == (
        b"\xee" * 32,
        b"\xcf" * 64,
        sim.report_data,
    )
    assert (claims.chip_id, claims.registers, claims.window) == (sim.ppid, (), Window(ISSUED, NEXT))
    assert claims.evidence_digest == f"sha256:{hashlib.sha256(sim.header() + sim.quoted_body()).hexdigest()}"
    assert dict(claims.facts) == {
        "attributes": sim.enclave_attributes.hex(),
        "fmspc": "90c06f000000",
        "isvprodid": "7",
        "miscselect": "00000000",
        "mrsigner": "51" * 32,
        "pceid": "0000",
        "platform": "standard",
        "quote-version": str(version),
        "tcb-date": "2024-11-13T00:00:00Z",
    }
    assert claims.facts == tuple(sorted(claims.facts))
    assert dict(claims.tcb)["isv"] == 9
    assert len(claims.tcb) == 16 + 5
    assert verify(sim, enclave_attributes=b"\x07" + bytes(15)).debug


def test_status_and_advisories_of_platform_module_and_quoting_enclave_are_joined() -> None:
    old = replace(FOUR, tee_tcb_svn=bytes((4, 1, 2)) + bytes(13), qe_svn=2)
    claims = verify(old)
    assert claims.tcb_status is TcbStatus.OUT_OF_DATE
    assert claims.advisories == ("INTEL-SA-01079", "INTEL-SA-01036", "INTEL-SA-00615")


def test_a_relaunch_is_advised_as_a_fact() -> None:
    claims = verify(FIVE, tee_tcb_svn=bytes((5, 1, 3)) + bytes(13))
    assert (claims.tcb_status, claims.fact("relaunch-advised")) == (TcbStatus.OUT_OF_DATE, "true")


def test_the_window_is_the_narrowest_of_all() -> None:
    hour = timedelta(hours=1)
    narrow = FOUR.collateral(list_window=(ISSUED + hour, NEXT - hour))
    assert verify_tdx(FOUR.evidence(), narrow, at=AT).window == Window(ISSUED + hour, NEXT - hour)
    wide = FOUR.collateral(list_window=(BEGAN, ENDS))
    infos = replace(wide, tcb_infos=FOUR.collateral(statement_window=(AT - hour, AT + hour)).tcb_infos)
    assert verify_tdx(FOUR.evidence(), infos, at=AT).window == Window(AT - hour, AT + hour)
    identities = FOUR.collateral(statement_window=(AT - hour, AT + hour)).qe_identities
    assert verify_tdx(FOUR.evidence(), replace(wide, qe_identities=identities), at=AT).window == Window(
        AT - hour, AT + hour
    )
    leaf = FOUR.evidence(window=(AT - hour, AT + hour))
    assert verify_tdx(leaf, GOOD, at=AT).window == Window(AT - hour, AT + hour)


def test_signatures_hold_without_any_statement() -> None:
    bare = replace(GOOD, tcb_infos=(), qe_identities=())
    verified = verify_signatures(FOUR.evidence(), bare, at=AT)
    assert (verified.platform.fmspc, verified.quote.version) == (FOUR.fmspc, 4)
    assert verified.window == Window(ISSUED, NEXT)


# Event logs


def tcg_log(*events: tuple[int, bytes]) -> bytes:
    head = b"Spec ID Event03\0" + bytes(8) + struct.pack("<IHH", 1, 12, 48) + b"\0"
    log = struct.pack("<II20sI", 0, 3, bytes(20), len(head)) + head
    return log + b"".join(struct.pack("<IIIH", n, 1, 1, 12) + digest + bytes(4) for n, digest in events)


def extended(*digests: bytes) -> bytes:
    value = bytes(48)
    for digest in digests:
        value = hashlib.sha384(value + digest).digest()
    return value


D, E = b"\x0d" * 48, b"\x0e" * 48
MEASURED = replace(FOUR, rtmrs=(extended(D, E), bytes(48), bytes(48), extended(D)))


def with_log(log: bytes, sim: SimulatedTdx = MEASURED) -> Claims:
    return verify_tdx(replace(sim.evidence(), extras=(("eventLog", log), ("more", b""))), GOOD, at=AT)


def test_an_event_log_that_gives_the_registers_is_accepted() -> None:
    assert (
        with_log(tcg_log((1, D), (4, D), (1, E)) + b"\xff" * 64).registers
        == with_log(tcg_log((4, D), (1, D), (1, E))).registers
    )
    payload = {"imr": 0, "event_type": 1, "digest": D.hex(), "event": "", "event_payload": ""}
    items = [payload, {**payload, "imr": 3}, {**payload, "digest": E.hex()}]
    assert with_log(b" " + json.dumps(items).encode()).tee is Tee.TDX
    assert verify_tdx(replace(MEASURED.evidence(), extras=(("more", b""),)), GOOD, at=AT).tee is Tee.TDX


@pytest.mark.parametrize(
    ("log", "name"),
    [
        (tcg_log((1, E), (4, D), (1, D)), "rtmr0"),
        (tcg_log((1, D), (1, E)), "rtmr3"),
        (tcg_log((1, D), (1, E), (4, D), (2, D)), "rtmr1"),
        (tcg_log(), "rtmr0"),
    ],
    ids=["swapped", "cut", "added", "empty"],
)
def test_an_event_log_that_gives_other_registers_is_refused(log: bytes, name: str) -> None:
    message = refusal(Reason.EVIDENCE_UNTRUSTED, lambda: with_log(log))
    assert message.startswith(f"the event log gives {name} ")
    assert ", the quote signs " in message


def runtime(*events: tuple[str, bytes], imr: int = 3) -> Claims:
    """Return claims of a domain whose runtime events were these."""
    items = [
        {
            "imr": imr,
            "event_type": RUNTIME_EVENT,
            "digest": digest_runtime_event(name, data).hex(),
            "event": name,
            "event_payload": data.hex(),
        }
        for name, data in events
    ]
    registers = [bytes(48)] * 4
    registers[imr] = extended(*(digest_runtime_event(name, data) for name, data in events))
    return with_log(json.dumps(items).encode(), replace(FOUR, rtmrs=tuple(registers)))


def events_of(claims: Claims) -> dict[str, str]:
    return {name: value for name, value in claims.facts if name.startswith("event.")}


def test_the_first_runtime_event_of_a_name_is_a_fact() -> None:
    claims = runtime(("app-id", b"\1\2"), ("system-ready", b""), ("app-id", b"\3"), ("a.B_9-z", b"\4" * 256))
    assert claims.fact("event-log") == "replayed"
    assert events_of(claims) == {"event.app-id": "0102", "event.a.B_9-z": "04" * 256}
    assert claims.facts == tuple(sorted(claims.facts))


def test_runtime_events_that_are_no_facts() -> None:
    odd = [(name, b"\1") for name in ("", "with space", "x" * 65, "line\n", "é")]
    assert events_of(runtime(*odd, ("long", b"\1" * 257), ("long", b"\1"))) == {}
    assert events_of(runtime(("app-id", b"\1"), imr=2)) == {}
    many = [(f"e{n:02d}", b"\1") for n in range(33)]
    assert sorted(events_of(runtime(*many))) == [f"event.e{n:02d}" for n in range(32)]


def test_other_events_are_no_facts() -> None:
    payload = {"imr": 3, "event_type": 1, "digest": D.hex(), "event": "app-id", "event_payload": "01"}
    claims = with_log(json.dumps([payload]).encode(), replace(FOUR, rtmrs=(bytes(48),) * 3 + (extended(D),)))
    assert (claims.fact("event-log"), events_of(claims)) == ("replayed", {})


def test_what_is_no_event_log_is_refused() -> None:
    assert "the event log is not JSON" in refusal(Reason.EVIDENCE_INVALID, lambda: with_log(b"[1"))
    assert "the event log" in refusal(Reason.EVIDENCE_INVALID, lambda: with_log(b""))


def test_logs_of_both_kinds_are_told_apart() -> None:
    digest = digest_runtime_event("app", b"\1").hex()
    item = {"imr": 3, "event_type": RUNTIME_EVENT, "digest": digest, "event": "app", "event_payload": "01"}
    assert parse_log(json.dumps([item]).encode())[0].register == 4
    assert parse_log(tcg_log((4, D)))[0].register == 4


@settings(max_examples=25)
@given(st.sampled_from([FOUR, FIVE, SGX]), st.integers(0, 5000), st.integers(1, 255))
def test_any_changed_byte_is_refused(sim: SimulatedTdx, place: int, change: int) -> None:
    quote = sim.quote()
    place %= len(quote)
    evidence = put(quote, place, bytes((quote[place] ^ change,)))
    answer = attempt(lambda: verify_tdx(evidence, sim.collateral(), at=AT))
    ends = {quote[place], quote[place] ^ change} <= set(b"\r\n\0")
    assert isinstance(answer, RefusedError) or (ends and answer == verify(sim))
