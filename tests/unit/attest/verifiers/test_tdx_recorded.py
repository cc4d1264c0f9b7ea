"""Evidence recorded on real hardware: accepted or refused as its source says."""

import base64
import functools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.eventlog import replay_rtmrs
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.pem import parse_pem
from sekisho.attest.verifiers.tdx import parse_log, verify_signatures, verify_tdx
from sekisho.attest.verifiers.tdx_collateral import TdxCollateral, parse_bundle, parse_statement, pick_tcb_info
from sekisho.attest.verifiers.tdx_facts import describe_domain
from sekisho.attest.verifiers.tdx_quote import TdReport, parse_quote
from sekisho.attest.verifiers.tdx_statements import Standing
from sekisho.attest.verifiers.tdx_tcb import Verdict, judge_domain
from sekisho.errors import Reason, RefusedError
from tests.unit.fuzz import attempt

VECTORS = Path(__file__).parents[5] / "shared" / "vectors" / "tdx"
pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="the recorded evidence of ../shared/vectors is not here")
JUNE = datetime(2025, 6, 20, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
QUARTER = timedelta(days=90)


def read(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


@functools.cache
def bundle(name: str) -> TdxCollateral:
    """Read a bundle; the root that is pinned is the one in its own chain, whose fingerprint a test below compares."""
    document = read(name)
    chain = json.loads(document)["tcb_info_issuer_chain"].encode()
    return parse_bundle(document, parse_pem(chain, "the chain", most=3)[-1:])


def verify(quote: str, collateral: str, at: datetime) -> Claims:
    return verify_tdx(UnverifiedEvidence("tdx", read(quote)), bundle(collateral), at=at)


def refusal(reason: Reason, act: object) -> str:
    assert callable(act)
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.reason is reason
    return caught.value.message


def test_the_root_is_intels() -> None:
    (root,) = bundle("tdx_quote_collateral.json").roots
    fingerprint = x509.load_der_x509_certificate(root).fingerprint(SHA256()).hex()
    assert fingerprint == "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"


def test_a_trust_domain_on_a_current_platform_is_up_to_date() -> None:
    claims = verify("tdx_quote", "tdx_quote_collateral.json", JUNE)
    assert (claims.tee, claims.debug, claims.tcb_status, claims.advisories) == (
        Tee.TDX,
        False,
        TcbStatus.UP_TO_DATE,
        (),
    )
    assert claims.fact("fmspc") == "b0c06f000000"
    assert claims.fact("sept-ve-disable") == "true"
    assert claims.chip_id is not None
    assert len(claims.chip_id) == 16
    assert claims.window.covers(JUNE)
    assert claims.window.not_after == datetime(2025, 7, 19, 10, 0, 35, tzinfo=UTC)


@pytest.mark.parametrize("at", [JUNE - QUARTER, JUNE + QUARTER], ids=["before", "after"])
def test_its_collateral_does_not_hold_at_other_times(at: datetime) -> None:
    refusal(Reason.COLLATERAL_EXPIRED, lambda: verify("tdx_quote", "tdx_quote_collateral.json", at))


def test_a_platform_below_every_level_is_refused() -> None:
    message = refusal(
        Reason.TCB_TOO_OLD, lambda: verify("tdx_quote_outdated", "tdx_quote_outdated_collateral.json", MARCH)
    )
    assert message == (
        "no TCB level of FMSPC 90c06f000000 covers the platform: it reports TDX components "
        "[7, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] with SGX components "
        "[3, 3, 2, 2, 4, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0], PCESVN 13, and is below each of 3 levels; "
        "update its firmware"
    )


def test_an_enclave_on_a_platform_that_needs_more_says_so() -> None:
    claims = verify("sgx_quote", "sgx_quote_collateral.json", JUNE)
    assert (claims.tee, claims.debug) == (Tee.SGX, False)
    assert claims.tcb_status is TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED
    assert claims.advisories == ("INTEL-SA-00289", "INTEL-SA-00615")


def test_a_debug_domain_is_told_as_one() -> None:
    evidence = UnverifiedEvidence("tdx", read("quote_v4_debug_td.dat"))
    verified = verify_signatures(evidence, bundle("tdx_quote_collateral.json"), at=JUNE)
    assert isinstance(verified.quote.body, TdReport)
    assert verified.quote.body.td_attributes[0] == 1
    message = refusal(Reason.DEBUG_ENABLED, lambda: verify_tdx(evidence, bundle("tdx_quote_collateral.json"), at=JUNE))
    assert message.startswith("the quote is of a debug environment")


def test_the_tcb_information_of_another_platform_speaks_of_its_quote() -> None:
    chain = json.loads(read("tdx_quote_collateral.json"))["tcb_info_issuer_chain"].encode()
    statement = parse_statement(read("tcbinfo_00A06D080000.json"), chain)
    evidence = UnverifiedEvidence("tdx", read("quote_v4_00A06D080000.dat"))
    verified = verify_signatures(evidence, bundle("tdx_quote_collateral.json"), at=JUNE)
    collateral = replace(bundle("tdx_quote_collateral.json"), tcb_infos=(statement,))
    collateral = replace(collateral, crls=collateral.crls[:1])
    november = datetime(2025, 11, 1, tzinfo=UTC)
    info, window = pick_tcb_info(collateral, verified.platform, "TDX", at=november)
    assert window.not_after == datetime(2025, 11, 26, 13, 7, 17, tzinfo=UTC)
    assert isinstance(verified.quote.body, TdReport)
    good = Standing(TcbStatus.UP_TO_DATE, "")
    verdict = judge_domain(info, verified.platform, verified.quote.body, good)
    assert verdict.status in (TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE)
    for at in (JUNE, november + QUARTER):
        refusal(Reason.COLLATERAL_EXPIRED, lambda at=at: pick_tcb_info(collateral, verified.platform, "TDX", at=at))


def test_a_quote_of_version_5_holds_its_signatures() -> None:
    evidence = UnverifiedEvidence("tdx", read("quote_v5_body3.dat"))
    verified = verify_signatures(evidence, bundle("tdx_quote_outdated_collateral.json"), at=MARCH)
    body = verified.quote.body
    assert isinstance(body, TdReport)
    assert (verified.quote.version, len(body.mr_service_td)) == (5, 48)
    assert body.tee_tcb_svn2[:3] == bytes((13, 1, 4))
    facts = dict(describe_domain(body, Verdict(TcbStatus.UP_TO_DATE, (), "")))
    assert facts["sept-ve-disable"] == "true"


def test_an_event_log_gives_the_registers_of_its_quote() -> None:
    evidence = UnverifiedEvidence("tdx", read("ccel_quote.dat"))
    verified = verify_signatures(evidence, bundle("tdx_quote_collateral.json"), at=JUNE)
    assert isinstance(verified.quote.body, TdReport)
    log = read("ccel_data.dat")
    assert tuple(value for _, value in replay_rtmrs(parse_log(log))) == verified.quote.body.rtmrs
    assert verified.quote.body.report_data == read("ccel_nonce.dat")
    for place in range(60, 18000, 97):
        changed = bytearray(log)
        changed[place] ^= 1
        answer = attempt(lambda changed=changed: replay_rtmrs(parse_log(bytes(changed))))
        # an event's own data are covered by its digest alone, which is the reader's to compare
        assert isinstance(answer, RefusedError | tuple)


def test_the_log_of_a_dstack_guest_gives_the_registers_of_its_quote() -> None:
    recorded = json.loads(read("rtmr3_eventlog_quote.json"))
    quote = parse_quote(bytes.fromhex(recorded["quote"]))
    assert isinstance(quote.body, TdReport)
    log = recorded["event_log"].encode()
    assert tuple(value for _, value in replay_rtmrs(parse_log(log))) == quote.body.rtmrs
    events = json.loads(log)
    shorter = tuple(value for _, value in replay_rtmrs(parse_log(json.dumps(events[:-1]).encode())))
    assert shorter[:3] == quote.body.rtmrs[:3]
    assert shorter[3] != quote.body.rtmrs[3]


def test_a_revocation_list_that_has_ended_is_refused() -> None:
    good = bundle("tdx_quote_collateral.json")
    old = replace(good, crls=(read("intel_root_crl.der"), good.crls[1]))
    message = refusal(
        Reason.COLLATERAL_EXPIRED, lambda: verify_tdx(UnverifiedEvidence("tdx", read("tdx_quote")), old, at=JUNE)
    )
    assert "revocation list" in message


@pytest.mark.parametrize("name", ["tdx_quote", "sgx_quote"])
def test_a_flipped_byte_anywhere_is_refused(name: str) -> None:
    quote, collateral = read(name), bundle(f"{name}_collateral.json")
    for place in range(3, len(quote), 17):
        for change in (1, 0x80, 0xFF):
            flipped = quote[:place] + bytes((quote[place] ^ change,)) + quote[place + 1 :]
            answer = attempt(lambda q=flipped: verify_tdx(UnverifiedEvidence("tdx", q), collateral, at=JUNE))
            assert isinstance(answer, RefusedError), (place, change)


def test_evidence_travels_as_it_does_elsewhere() -> None:
    text = base64.b64encode(read("tdx_quote"))
    claims = verify_tdx(UnverifiedEvidence("tdx", base64.b64decode(text)), bundle("tdx_quote_collateral.json"), at=JUNE)
    assert claims == verify("tdx_quote", "tdx_quote_collateral.json", JUNE)
