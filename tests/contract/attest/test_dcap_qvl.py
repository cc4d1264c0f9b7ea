"""The same quotes by another library, dcap-qvl: same verdict, same status, same advisories.

Where the two differ on purpose, a test says so and why.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dcap_qvl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.pem import parse_pem
from sekisho.attest.verifiers.tdx import verify_tdx
from sekisho.attest.verifiers.tdx_collateral import TdxCollateral, parse_bundle
from sekisho.errors import RefusedError
from tests.simulators.hardware.tdx import AT, CA_SERIAL, PCK_SERIAL, SIGNER_SERIAL, SimulatedTdx, level, pem, svn_level
from tests.unit.fuzz import changed

VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "tdx"
recorded = pytest.mark.skipif(not VECTORS.is_dir(), reason="the recorded evidence of ../shared/vectors is not here")
RECORDED = {
    "tdx_quote": datetime(2025, 6, 20, tzinfo=UTC),
    "tdx_quote_outdated": datetime(2026, 3, 1, tzinfo=UTC),
    "sgx_quote": datetime(2025, 6, 20, tzinfo=UTC),
}
Answer = tuple[str, bool, tuple[str, ...], bytes] | None
# Where a newer TDX module runs than at the launch, the other has words of its own; here that is a fact beside.
RELAUNCH = {
    "TDRelaunchAdvised": "OutOfDate",
    "TDRelaunchAdvisedConfigurationNeeded": "OutOfDateConfigurationNeeded",
}


def ours(quote: bytes, collateral: TdxCollateral, at: datetime) -> Answer:
    try:
        claims = verify_tdx(UnverifiedEvidence("tdx", quote), collateral, at=at)
    except RefusedError:
        return None
    # The other library refuses debug domains itself; here that is the appraisal's to do, always.
    relaunch = claims.fact("relaunch-advised") == "true"
    return None if claims.debug else (claims.tcb_status.value, relaunch, claims.advisories, claims.chip_id or b"")


def theirs(quote: bytes, collateral: TdxCollateral, at: datetime) -> Answer:
    (info,), (identity,) = collateral.tcb_infos, collateral.qe_identities
    spelt = dcap_qvl.QuoteCollateralV3(
        pck_crl_issuer_chain="",
        root_ca_crl=collateral.crls[0],
        pck_crl=collateral.crls[1],
        tcb_info_issuer_chain=pem(*info.certificates).decode(),
        tcb_info=info.body.decode(),
        tcb_info_signature=info.signature,
        qe_identity_issuer_chain=pem(*identity.certificates).decode(),
        qe_identity=identity.body.decode(),
        qe_identity_signature=identity.signature,
    )
    try:
        report = dcap_qvl.verify_with_root_ca(quote, spelt, collateral.roots[0], int(at.timestamp()))
    except ValueError:
        return None
    status = RELAUNCH.get(report.status, report.status)
    return status, report.status in RELAUNCH, tuple(report.advisory_ids), bytes(report.ppid)


def read(name: str) -> tuple[bytes, TdxCollateral]:
    document = (VECTORS / f"{name}_collateral.json").read_bytes()
    chain = json.loads(document)["tcb_info_issuer_chain"].encode()
    return (VECTORS / name).read_bytes(), parse_bundle(document, parse_pem(chain, "the chain", most=3)[-1:])


@recorded
@pytest.mark.parametrize("name", [*RECORDED])
def test_recorded_quotes_are_judged_alike(name: str) -> None:
    quote, collateral = read(name)
    at = RECORDED[name]
    answer = ours(quote, collateral, at)
    assert answer == theirs(quote, collateral, at)
    assert (answer is None) is (name == "tdx_quote_outdated")
    for day in (1, 40, 90, 400):
        for other in (at.fromtimestamp(at.timestamp() + sign * day * 86400, UTC) for sign in (1, -1)):
            assert ours(quote, collateral, other) == theirs(quote, collateral, other), other


@recorded
@pytest.mark.parametrize("name", ["tdx_quote", "sgx_quote"])
def test_every_byte_region_flipped_is_refused_by_both(name: str) -> None:
    quote, collateral = read(name)
    end = len(quote.rstrip(b"\0"))
    for place in range(0, end, 23):
        flipped = quote[:place] + bytes((quote[place] ^ 0x55,)) + quote[place + 1 :]
        assert ours(flipped, collateral, RECORDED[name]) is None, place
        # The other library leaves the root out that came along, so a change there does not change its answer.
        changed_root = place > quote.rfind(b"-----BEGIN CERTIFICATE-----")
        assert changed_root or theirs(flipped, collateral, RECORDED[name]) is None, place


BASE = SimulatedTdx()
SGX = SimulatedTdx(tee="SGX", version=3)
FIVE = SimulatedTdx(version=5, body=3)
LATEST = ((3, 3, 2, 2, 4, 1, 0, 5), 13, (5, 0, 3))


def statuses(tee: str = "TDX") -> list[dict[str, Any]]:
    known = ("UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
             "OutOfDateConfigurationNeeded", "Revoked")  # fmt: skip
    return [{"tcbLevels": [level(*LATEST, status, "INTEL-SA-1", tee=tee)]} for status in known]


CASES: list[tuple[SimulatedTdx, dict[str, Any]]] = [
    *((sim, {}) for sim in (BASE, SGX, FIVE, SimulatedTdx(version=5))),
    *((BASE, {"tcb_changes": changes}) for changes in statuses()),
    *((SGX, {"tcb_changes": changes}) for changes in statuses("SGX")),
    *((replace(BASE, components=tuple(max(0, svn - (at == index)) for at, svn in enumerate(BASE.components))), {})
      for index in range(16)),
    *((replace(FIVE, tee_tcb_svn=bytes(max(0, svn - (at == index)) for at, svn in enumerate(FIVE.tee_tcb_svn))), {})
      for index in range(16)),
    *((replace(BASE, pce_svn=svn), {}) for svn in (4, 5, 12, 14)),
    *((replace(BASE, qe_svn=svn), {}) for svn in (0, 1, 2, 3, 5)),
    *((replace(BASE, tee_tcb_svn=bytes((svn, version, 3)) + bytes(13)), {})
      for svn in (5, 6, 7) for version in (0, 1, 2, 3)),
    *((BASE, {"revoked": (serial,)}) for serial in (CA_SERIAL, PCK_SERIAL, SIGNER_SERIAL)),
    *((replace(BASE, qe_svn=svn), {"tcb_changes": changes}) for svn in (2, 3) for changes in statuses()),
    *((replace(BASE, tee_tcb_svn=bytes((5, 1, 3)) + bytes(13)), {"tcb_changes": changes}) for changes in statuses()),
    *((replace(FIVE, tee_tcb_svn=bytes((5, 1, 3)) + bytes(13), tee_tcb_svn2=bytes(now) + bytes(13), qe_svn=qe),
       {"tcb_changes": changes})
      for now in ((6, 1, 3), (5, 1, 3), (6, 1, 2), (5, 0, 3), (4, 0, 3), (3, 3, 3), (2, 3, 3))
      for qe in (3, 4) for changes in ({}, *statuses()[:6])),
    (replace(BASE, tee_tcb_svn=bytes((4, 1, 3)) + bytes(13)), {}),
    (replace(BASE, td_attributes=bytes((1, 0, 0, 0x10, 0, 0, 0, 0))), {}),
    (replace(BASE, td_attributes=bytes((0, 1, 0, 0x10, 0, 0, 0, 0))), {}),
    (replace(BASE, mr_signer_seam=b"\1" * 48), {}),
    (replace(BASE, seam_attributes=b"\1" + bytes(7)), {}),
    (replace(BASE, qe_signer=b"\1" * 32), {}),
    (replace(BASE, qe_product=3), {}),
    (replace(BASE, qe_misc=b"\1\0\0\0"), {}),
    (replace(BASE, qe_attributes=b"\x13" + bytes(15)), {}),
    (replace(BASE, vendor=b"\1" * 16), {}),
    (replace(BASE, key_type=3), {}),
    (replace(BASE, fmspc=bytes(6)), {}),
    (replace(SGX, enclave_attributes=b"\x07" + bytes(15)), {}),
    (BASE, {"statement_window": (AT.replace(day=16), AT.replace(day=20))}),
    (BASE, {"statement_window": (AT.replace(day=1), AT.replace(day=14))}),
    (BASE, {"list_window": (AT.replace(day=1), AT.replace(day=14))}),
    (BASE, {"qe_changes": {"id": "QE"}}),
    (BASE, {"qe_changes": {"version": 1}}),
    (BASE, {"tcb_changes": {"id": "SGX"}}),
    (BASE, {"qe_changes": {"tcbLevels": [svn_level(4, "Revoked")]}}),
]  # fmt: skip


@pytest.mark.parametrize(("sim", "changes"), CASES)
def test_synthesised_quotes_are_judged_alike(sim: SimulatedTdx, changes: dict[str, Any]) -> None:
    quote, collateral = sim.quote(), replace(sim, **changes).collateral()
    assert ours(quote, collateral, AT) == theirs(quote, collateral, AT)


@settings(max_examples=60)
@given(st.sampled_from([BASE, FIVE, SGX]).flatmap(lambda sim: st.tuples(st.just(sim), changed(sim.quote()))))
def test_changed_quotes_are_refused_where_the_other_refuses(pair: tuple[SimulatedTdx, bytes]) -> None:
    sim, quote = pair
    answer = ours(quote, sim.collateral(), AT)
    assert answer is None or answer == theirs(quote, sim.collateral(), AT)


SVNS = st.lists(st.integers(0, 2), min_size=3, max_size=3)
LEVELS = st.lists(
    st.tuples(SVNS, st.integers(0, 2), SVNS, st.sampled_from(["UpToDate", "OutOfDate"])), min_size=1, max_size=4
)


@settings(max_examples=40)
@given(LEVELS, SVNS, st.integers(0, 2), SVNS)
def test_levels_are_chosen_alike(levels: Any, sgx: list[int], pce: int, tdx: list[int]) -> None:
    """Version 0 of the TDX module, where both compare every component."""
    spelt = [level(each[0], each[1], each[2], each[3], f"INTEL-SA-{at}") for at, each in enumerate(levels)]
    tdx[1] = 0
    for each in spelt:
        each["tcb"]["tdxtcbcomponents"][1]["svn"] = 0
    changes = {"tcbLevels": spelt}
    sim = replace(BASE, components=(*sgx, *[0] * 13), pce_svn=pce, tee_tcb_svn=bytes((*tdx, *[0] * 13)))
    collateral = replace(sim, tcb_changes=changes).collateral()
    assert ours(sim.quote(), collateral, AT) == theirs(sim.quote(), collateral, AT)


MODULES = st.tuples(st.integers(3, 7), st.sampled_from([0, 1, 3, 9]), st.integers(1, 3))


@settings(max_examples=60)
@given(MODULES, MODULES, st.integers(1, 4))
def test_modules_at_the_launch_and_now_are_judged_alike(launch: Any, now: Any, qe: int) -> None:
    sim = replace(FIVE, tee_tcb_svn=bytes(launch) + bytes(13), tee_tcb_svn2=bytes(now) + bytes(13), qe_svn=qe)
    assert ours(sim.quote(), sim.collateral(), AT) == theirs(sim.quote(), sim.collateral(), AT)


# Where the two differ on purpose


def differ(sim: SimulatedTdx, **changes: Any) -> tuple[Answer, Answer]:
    quote, collateral = sim.quote(), replace(sim, **changes).collateral()
    return ours(quote, collateral, AT), theirs(quote, collateral, AT)


@pytest.mark.parametrize(
    ("sim", "fact"),
    [
        (replace(BASE, td_attributes=bytes(8)), ("sept-ve-disable", "false")),
        (replace(BASE, td_attributes=(3 << 28).to_bytes(8, "little")), ("migratable", "true")),
        (replace(FIVE, mr_service_td=b"\1" * 48), ("mrservicetd", "01" * 48)),
    ],
)
def test_what_a_policy_may_allow_is_a_fact_here_and_refused_there(sim: SimulatedTdx, fact: tuple[str, str]) -> None:
    assert theirs(sim.quote(), sim.collateral(), AT) is None
    claims: Claims = verify_tdx(sim.evidence(), sim.collateral(), at=AT)
    assert claims.fact(fact[0]) == fact[1]


def test_versions_4_and_5_of_enclaves_are_read_here_alone() -> None:
    for version in (4, 5):
        own, other = differ(replace(SGX, version=version))
        assert own is not None
        assert other is None


def test_quotes_of_qe_data_of_any_length_are_read_here_alone() -> None:
    own, other = differ(replace(BASE, qe_data=b"\1" * 20))
    assert own is not None
    assert other is None
