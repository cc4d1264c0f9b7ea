"""Security versions: each component counts, and what joins them is what Intel's own library does."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.claims import TcbStatus
from sekisho.attest.verifiers.tdx_pck import Platform, parse_platform
from sekisho.attest.verifiers.tdx_quote import EnclaveReport, TdReport, parse_quote
from sekisho.attest.verifiers.tdx_statements import Standing, TcbInfo, parse_qe_identity, parse_tcb_info
from sekisho.attest.verifiers.tdx_tcb import (
    Verdict,
    check_module,
    check_quoting_enclave,
    judge_domain,
    judge_enclave,
)
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import SimulatedTdx, level, svn_level

SIM = SimulatedTdx(version=5, body=3)
GOOD = Standing(TcbStatus.UP_TO_DATE, "2024-11-13T00:00:00Z")
LATEST = ((3, 3, 2, 2, 4, 1, 0, 5), 13, (5, 0, 3))
UP, SW, CONF, CONF_SW = "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"
OUT, OUT_CONF, REVOKED = "OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"


def info(sim: SimulatedTdx = SIM, **changes: Any) -> TcbInfo:
    return parse_tcb_info(json.dumps({**sim.tcb_info(), **changes}).encode())


def platform(**changes: Any) -> Platform:
    return parse_platform(replace(SIM, **changes).extension())


def report(**changes: Any) -> TdReport:
    body = parse_quote(replace(SIM, **changes).quote()).body
    assert isinstance(body, TdReport)
    return body


def qe_report(**changes: Any) -> EnclaveReport:
    return parse_quote(replace(SIM, **changes).quote()).qe_report


def refusal(reason: Reason, act: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.reason is reason
    return caught.value.message


def module(levels: list[dict[str, Any]], name: str = "TDX_01", **changes: str) -> dict[str, Any]:
    base = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8, **changes}
    return {"id": name, **base, "tcbLevels": levels}


ONE_LEVEL = info(tcbLevels=[level(*LATEST)])
REPORTED = (6, 1, 3, *[0] * 13)


def test_a_platform_that_reaches_every_component_is_up_to_date() -> None:
    assert judge_domain(ONE_LEVEL, platform(), report(), GOOD) == Verdict(TcbStatus.UP_TO_DATE, (), GOOD.date)
    assert judge_enclave(info(SimulatedTdx(tee="SGX")), platform(), GOOD).status is TcbStatus.UP_TO_DATE


@pytest.mark.parametrize("index", range(16))
def test_a_lower_sgx_component_is_below_the_level(index: int) -> None:
    least = [1] * 16
    strict = info(tcbLevels=[level(least, 13, (5, 0, 3))])
    enough, short = tuple(least), tuple(0 if at == index else 1 for at in range(16))
    assert judge_domain(strict, platform(components=enough), report(), GOOD).status is TcbStatus.UP_TO_DATE
    for judge in (
        lambda: judge_domain(strict, platform(components=short), report(), GOOD),
        lambda: judge_enclave(strict, platform(components=short), GOOD),
    ):
        message = refusal(Reason.TCB_TOO_OLD, judge)
        assert message.startswith("no TCB level of FMSPC 90c06f000000 covers the platform: it reports ")
        assert message.endswith(
            f"SGX components {list(short)}, PCESVN 13, and is below each of 1 levels; update its firmware"
        )


@pytest.mark.parametrize("index", range(16))
def test_a_lower_tdx_component_is_below_the_level_unless_the_modules_own_levels_judge_it(index: int) -> None:
    strict = info(tcbLevels=[level((), 13, [1] * 16)])
    for version in (0, 1):
        svns = [6, version, *[1] * 14]
        svns[index] = version if index == 1 else 0
        act = lambda svns=svns: judge_domain(strict, platform(), report(tee_tcb_svn=bytes(svns), version=4), GOOD)  # noqa: E731
        if version == 1 and index == 1:
            assert act().status is TcbStatus.UP_TO_DATE
        elif version == 1 and index == 0:
            assert refusal(Reason.TCB_TOO_OLD, act) == (
                "the TDX module TDX_01 has SVN 0, the least that Intel knows is 4; update it"
            )
        else:
            assert f"covers the platform: it reports TDX components {svns} with SGX components" in refusal(
                Reason.TCB_TOO_OLD, act
            )


def test_where_the_module_has_a_version_its_two_components_are_not_compared() -> None:
    found = info(tcbLevels=[level((), 13, (200, 200, 3))])
    assert judge_domain(found, platform(), report(), GOOD).status is TcbStatus.UP_TO_DATE


def test_the_date_is_that_of_the_platforms_level() -> None:
    found = info(tcbLevels=[{**level(*LATEST), "tcbDate": "2020-01-01T00:00:00Z"}])
    assert judge_domain(found, platform(), report(), GOOD).date == "2020-01-01T00:00:00Z"


def test_a_lower_pcesvn_is_below_the_level() -> None:
    message = refusal(Reason.TCB_TOO_OLD, lambda: judge_domain(ONE_LEVEL, platform(pce_svn=12), report(), GOOD))
    assert "PCESVN 12" in message
    assert judge_domain(ONE_LEVEL, platform(pce_svn=14), report(), GOOD).status is TcbStatus.UP_TO_DATE


def test_the_highest_level_that_is_reached_counts() -> None:
    found = info()
    assert judge_domain(found, platform(pce_svn=13, components=(2, 2, 2, 2, 3, 1, 0, 5, *[0] * 8)), report(), GOOD) == (
        Verdict(TcbStatus.OUT_OF_DATE, ("INTEL-SA-01079",), GOOD.date)
    )
    old = judge_domain(found, platform(pce_svn=5), report(), GOOD)
    assert old.advisories == ("INTEL-SA-00837", "INTEL-SA-01079")
    lower = report(tee_tcb_svn=bytes((6, 1, 2, *[0] * 13)))
    assert judge_domain(found, platform(), lower, GOOD).status is TcbStatus.OUT_OF_DATE


@pytest.mark.parametrize(
    ("platform_status", "part", "joined"),
    [
        (UP, UP, UP),
        (SW, UP, SW),
        (CONF, UP, CONF),
        (CONF_SW, UP, CONF_SW),
        (OUT, UP, OUT),
        (OUT_CONF, UP, OUT_CONF),
        (UP, OUT, OUT),
        (SW, OUT, OUT),
        (CONF, OUT, OUT_CONF),
        (CONF_SW, OUT, OUT_CONF),
        (OUT, OUT, OUT),
        (OUT_CONF, OUT, OUT_CONF),
    ],
)
def test_statuses_join_as_in_intels_library(platform_status: str, part: str, joined: str) -> None:
    levels = [level(*LATEST, platform_status, "P")]
    old = Standing(TcbStatus(part), "", ("Q",))
    modules = [module([svn_level(6, part, "M", "P")])]
    by_module = judge_domain(info(tcbLevels=levels, tdxModuleIdentities=modules), platform(), report(), GOOD)
    assert (by_module.status, by_module.advisories) == (TcbStatus(joined), ("P", "M"))
    by_qe = judge_domain(info(tcbLevels=levels), platform(), report(), old)
    assert (by_qe.status, by_qe.advisories) == (TcbStatus(joined), ("P", "Q"))
    by_both = judge_domain(info(tcbLevels=levels, tdxModuleIdentities=modules), platform(), report(), old)
    assert (by_both.status, by_both.advisories) == (TcbStatus(joined), ("P", "M", "Q"))
    sgx = info(SimulatedTdx(tee="SGX"), tcbLevels=[level(*LATEST, platform_status, tee="SGX")])
    assert judge_enclave(sgx, platform(), old).status is TcbStatus(joined)


@pytest.mark.parametrize("status", [SW, CONF, CONF_SW, OUT, OUT_CONF])
def test_a_quoting_enclave_that_is_not_up_to_date_is_out_of_date(status: str) -> None:
    verdict = judge_domain(ONE_LEVEL, platform(), report(), Standing(TcbStatus(status), ""))
    assert verdict.status is TcbStatus.OUT_OF_DATE


@pytest.mark.parametrize(
    ("levels", "modules", "qe"),
    [
        ([level(*LATEST, REVOKED, "A")], [module([svn_level(6)])], GOOD),
        ([level(*LATEST)], [module([svn_level(6, REVOKED, "A")])], GOOD),
        ([level(*LATEST)], [module([svn_level(6)])], Standing(TcbStatus.REVOKED, "", ("A",))),
        ([level(*LATEST, REVOKED, "A")], [module([svn_level(6, OUT)])], Standing(TcbStatus.OUT_OF_DATE, "")),
    ],
    ids=["platform", "module", "quoting enclave", "platform among others"],
)
def test_what_intel_revoked_is_refused(levels: list[Any], modules: list[Any], qe: Standing) -> None:
    found = info(tcbLevels=levels, tdxModuleIdentities=modules)
    assert refusal(Reason.EVIDENCE_REVOKED, lambda: judge_domain(found, platform(), report(), qe)) == (
        "Intel revoked the security version of the platform, its TDX module or its quoting enclave"
        " (FMSPC 90c06f000000, A)"
    )


def test_a_revocation_without_advisories_says_so() -> None:
    found = info(SimulatedTdx(tee="SGX"), tcbLevels=[level(*LATEST, REVOKED, tee="SGX")])
    message = refusal(Reason.EVIDENCE_REVOKED, lambda: judge_enclave(found, platform(), GOOD))
    assert message.endswith("(FMSPC 90c06f000000, no advisory named)")


@pytest.mark.parametrize(
    ("found", "told", "message"),
    [
        (
            info(),
            {"tee_tcb_svn": bytes((6, 2, 3))},
            "the TDX module of version 2 is none that the TCB information knows",
        ),
        (
            info(),
            {"mr_signer_seam": b"\1" * 48},
            f"the TDX module is signed by {'01' * 48}, the TCB information says 0000",
        ),
        (
            info(tdxModuleIdentities=[module([svn_level(1)], mrsigner="02" * 48)]),
            {},
            f"the TDX module is signed by {'00' * 48}, the TCB information says {'02' * 48}",
        ),
        (
            info(),
            {"seam_attributes": b"\1" + bytes(7)},
            "the TDX module has attributes 0100000000000000, the TCB information 0000000000000000; only zeros",
        ),
        (
            info(tdxModuleIdentities=[module([svn_level(1)], attributes="00000000000000FF")]),
            {},
            "the TDX module has attributes 0000000000000000, the TCB information 00000000000000ff; only zeros",
        ),
        (info(tdxModule=module([], mrsigner="03" * 48)), {"tee_tcb_svn": bytes((6, 0, 3))}, "says 0303"),
    ],
)
def test_a_module_that_is_not_intels_is_refused(found: TcbInfo, told: dict[str, Any], message: str) -> None:
    told = {name: value.ljust(16, b"\0") if name == "tee_tcb_svn" else value for name, value in told.items()}
    for act in (
        lambda: check_module(found, report(**told)),
        lambda: judge_domain(found, platform(), report(**told), GOOD),
    ):
        assert message in refusal(Reason.EVIDENCE_UNTRUSTED, act)


def test_bits_that_the_mask_leaves_out_do_not_count() -> None:
    modules = [module([svn_level(1)], attributes="00000000000000FF", attributesMask="FFFFFFFFFFFFFF00")]
    assert check_module(info(tdxModuleIdentities=modules), report()).name == "TDX_01"


def test_version_0_of_the_module_is_judged_by_the_platforms_levels_alone() -> None:
    found = info(tcbLevels=[level(*LATEST)])
    assert judge_domain(found, platform(), report(tee_tcb_svn=bytes((5, 0, 3, *[0] * 13))), GOOD).status.value == UP
    below = report(tee_tcb_svn=bytes((4, 0, 3, *[0] * 13)))
    assert "TDX components [4, 0, 3" in refusal(
        Reason.TCB_TOO_OLD, lambda: judge_domain(found, platform(), below, GOOD)
    )


def test_a_module_below_its_levels_is_refused() -> None:
    below = report(tee_tcb_svn=bytes((3, 1, 3, *[0] * 13)))
    message = refusal(Reason.TCB_TOO_OLD, lambda: judge_domain(info(), platform(), below, GOOD))
    assert message == "the TDX module TDX_01 has SVN 3, the least that Intel knows is 4; update it"


STALE = {"tee_tcb_svn": bytes((5, 1, 3, *[0] * 13))}


@pytest.mark.parametrize(
    ("changes", "now", "qe", "status", "relaunch"),
    [
        ({}, (6, 1, 3), GOOD, OUT, True),
        ({}, (7, 3, 4), GOOD, OUT, True),
        ({}, (5, 0, 3), GOOD, OUT, True),
        ({}, (5, 1, 3), GOOD, OUT, False),
        ({}, (6, 1, 2), GOOD, OUT, False),
        ({}, (6, 1, 3), Standing(TcbStatus.OUT_OF_DATE, ""), OUT, False),
        ({"tcbLevels": [level(*LATEST, CONF)]}, (6, 1, 3), GOOD, OUT_CONF, True),
        ({"tcbLevels": [level(*LATEST, SW)]}, (6, 1, 3), GOOD, OUT, True),
        ({"tcbLevels": [level(*LATEST, OUT)]}, (6, 1, 3), GOOD, OUT, False),
        ({"tdxModuleIdentities": [module([svn_level(1)])]}, (6, 1, 3), GOOD, UP, False),
    ],
)
def test_a_domain_is_advised_to_relaunch_where_its_module_was_updated_since(
    changes: dict[str, Any], now: tuple[int, ...], qe: Standing, status: str, relaunch: bool
) -> None:
    told = report(**STALE, tee_tcb_svn2=bytes(now).ljust(16, b"\0"))
    verdict = judge_domain(info(**changes), platform(), told, qe)
    assert (verdict.status, verdict.relaunch) == (TcbStatus(status), relaunch)


@pytest.mark.parametrize(
    ("now", "reason", "message"),
    [
        ((4, 0, 3), Reason.TCB_TOO_OLD, "covers the platform: it reports TDX components [4, 0, 3, "),
        ((6, 1, 1), Reason.TCB_TOO_OLD, "covers the platform: it reports TDX components [6, 1, 1, "),
        ((3, 1, 3), Reason.TCB_TOO_OLD, "the TDX module TDX_01 has SVN 3, the least that Intel knows is 4; update it"),
        ((255, 9, 3), Reason.EVIDENCE_UNTRUSTED, "the TDX module of version 9 is none that the TCB information knows"),
    ],
)
def test_a_module_that_runs_now_and_is_below_every_level_or_unknown_is_refused(
    now: tuple[int, ...], reason: Reason, message: str
) -> None:
    told = report(tee_tcb_svn2=bytes(now).ljust(16, b"\0"))
    assert message in refusal(reason, lambda: judge_domain(info(), platform(), told, GOOD))


def test_a_report_of_tdx_1_0_does_not_tell_of_an_update() -> None:
    verdict = judge_domain(info(), platform(), report(**STALE, version=4), GOOD)
    assert (verdict.status, verdict.relaunch) == (TcbStatus.OUT_OF_DATE, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qe_signer": b"\1" * 32}, f"the quoting enclave has MRSIGNER {'01' * 32}, the identity TD_QE"),
        ({"qe_product": 1}, "the quoting enclave has ISVPRODID 0001, the identity TD_QE 0002"),
        ({"qe_misc": b"\1\0\0\0"}, "the quoting enclave has MISCSELECT 01000000, the identity TD_QE 00000000"),
        ({"qe_attributes": b"\x13" + bytes(15)}, f"the quoting enclave has ATTRIBUTES 13{'00' * 15}, the identity"),
        ({"qe_attributes": b"\x11\1" + bytes(14)}, f"the quoting enclave has ATTRIBUTES 1101{'00' * 14}, the identity"),
    ],
)
def test_another_quoting_enclave_is_refused(changes: dict[str, Any], message: str) -> None:
    identity = parse_qe_identity(json.dumps(SIM.qe_identity()).encode())
    found = refusal(Reason.EVIDENCE_UNTRUSTED, lambda: check_quoting_enclave(identity, qe_report(**changes)))
    assert found.startswith(message)


def test_a_quoting_enclave_in_debug_mode_is_refused_whatever_its_identity_says() -> None:
    lax = {"attributes": "00" * 16, "attributesMask": "00" * 16}
    identity = parse_qe_identity(json.dumps({**SIM.qe_identity(), **lax}).encode())
    act = lambda: check_quoting_enclave(identity, qe_report(qe_attributes=b"\x13" + bytes(15)))  # noqa: E731
    assert refusal(Reason.EVIDENCE_UNTRUSTED, act) == "the quoting enclave runs in debug mode"


@pytest.mark.parametrize(("svn", "status"), [(5, UP), (4, UP), (3, OUT), (2, OUT)])
def test_the_version_of_a_quoting_enclave_is_found_among_its_levels(svn: int, status: str) -> None:
    identity = parse_qe_identity(json.dumps(SIM.qe_identity()).encode())
    assert check_quoting_enclave(identity, qe_report(qe_svn=svn)).status is TcbStatus(status)


def test_a_quoting_enclave_below_its_levels_is_refused() -> None:
    identity = parse_qe_identity(json.dumps(SIM.qe_identity()).encode())
    message = refusal(Reason.TCB_TOO_OLD, lambda: check_quoting_enclave(identity, qe_report(qe_svn=1)))
    assert message == "the quoting enclave TD_QE has SVN 1, the least that Intel knows is 2; update it"


SVNS = st.lists(st.integers(0, 3), min_size=16, max_size=16)


@settings(max_examples=60)
@given(st.lists(st.tuples(SVNS, st.integers(0, 3)), min_size=1, max_size=5), SVNS, st.integers(0, 3))
def test_a_higher_version_never_stands_worse(
    told: list[tuple[list[int], int]], components: list[int], pce: int
) -> None:
    ranked = [UP, OUT, OUT_CONF]
    levels = sorted(told, reverse=True)
    spelt = [level(sgx, svn, (), ranked[min(at, 2)], tee="SGX") for at, (sgx, svn) in enumerate(levels)]
    found = info(SimulatedTdx(tee="SGX"), tcbLevels=spelt)
    base = platform(components=tuple(components), pce_svn=pce)

    def rank(one: Platform) -> int:
        try:
            return ranked.index(judge_enclave(found, one, GOOD).status.value)
        except RefusedError:
            return len(ranked)

    for index in range(16):
        more = tuple(svn + (at == index) for at, svn in enumerate(base.components))
        assert rank(replace(base, components=more)) <= rank(base)
    assert rank(replace(base, pce_svn=pce + 1)) <= rank(base)
