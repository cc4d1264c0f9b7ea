"""Intel's statements: every field of the type it must have."""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.claims import TcbStatus, Window
from sekisho.attest.verifiers.tdx_statements import (
    MAX_STATEMENT_BYTES,
    ModuleIdentity,
    QeIdentity,
    Standing,
    SvnLevel,
    TcbInfo,
    TcbLevel,
    parse_qe_identity,
    parse_tcb_info,
)
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import ISSUED, NEXT, QE_SIGNER, SimulatedTdx, level, svn_level
from tests.unit.fuzz import JSON, attempt

SIM = SimulatedTdx()
INFO, QE = SIM.tcb_info(), SIM.qe_identity()
SGX = SimulatedTdx(tee="SGX").tcb_info()
MODULE = INFO["tdxModuleIdentities"][0]
LEVEL = level((1,), 2, (3,))


def spell(value: Any) -> bytes:
    return json.dumps(value).encode()


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.reason is Reason.COLLATERAL_INVALID
    return caught.value.message


def bad_level(**changes: Any) -> dict[str, Any]:
    return {"tcbLevels": [{**LEVEL, **changes}]}


def bad_tcb(**changes: Any) -> dict[str, Any]:
    return bad_level(tcb={**LEVEL["tcb"], **changes})


def bad_module(**changes: Any) -> dict[str, Any]:
    return {"tdxModuleIdentities": [{**MODULE, **changes}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "QE"}, "is not version 3 of SGX or TDX with components of type 0"),
        ({"id": ""}, "has a field id that is not a short text"),
        ({"id": "x" * 65}, "has a field id that is not a short text"),
        ({"id": 1}, "has a field id that is not a short text"),
        ({"version": 2}, "is not version 3 of SGX or TDX with components of type 0"),
        ({"version": True}, "has a field version that is not 0 to 4294967295"),
        ({"version": -1}, "has a field version that is not 0 to 4294967295"),
        ({"version": 1 << 32}, "has a field version that is not 0 to 4294967295"),
        ({"tcbType": 1}, "is not version 3 of SGX or TDX with components of type 0"),
        ({"issueDate": "2026-06-01"}, "has a field issueDate that is no time like 2025-06-19T10:16:03Z"),
        ({"nextUpdate": "2026-06-01T00:00:00+01:00"}, "has a field nextUpdate that is no time like"),
        ({"nextUpdate": 5}, "has a field nextUpdate that is not a short text"),
        ({"fmspc": "00"}, "has a field fmspc that is not 6 bytes in hexadecimal"),
        ({"fmspc": "0 " * 6}, "has a field fmspc that is not 6 bytes in hexadecimal"),
        ({"fmspc": "XX" * 6}, "has a field fmspc that is not 6 bytes in hexadecimal"),
        ({"fmspc": 6}, "has a field fmspc that is not 6 bytes in hexadecimal"),
        ({"pceId": "000000"}, "has a field pceId that is not 2 bytes in hexadecimal"),
        ({"tcbEvaluationDataNumber": None}, "has a field tcbEvaluationDataNumber that is not 0 to"),
        ({"tcbLevels": []}, "has a field tcbLevels that is not a list of 1 to 256"),
        ({"tcbLevels": [LEVEL] * 257}, "has a field tcbLevels that is not a list of 1 to 256"),
        ({"tcbLevels": {}}, "has a field tcbLevels that is not a list of 1 to 256"),
        ({"tcbLevels": [1]}, "has something else where an object must be"),
        (bad_level(tcb=None), "has something else where an object must be"),
        (bad_level(tcbStatus="Good"), 'has the status "Good", which is none of Intel\'s'),
        (bad_level(tcbStatus="Unknown"), 'has the status "Unknown", which is none of Intel\'s'),
        (bad_level(tcbDate=None), "has a field tcbDate that is not a short text"),
        (bad_level(advisoryIDs="A"), "has advisoryIDs that are no list of at most 256"),
        (bad_level(advisoryIDs=["A"] * 257), "has advisoryIDs that are no list of at most 256"),
        (bad_level(advisoryIDs=["A", ""]), "has an advisory that is not 1 to 64 characters"),
        (bad_level(advisoryIDs=["A" * 65]), "has an advisory that is not 1 to 64 characters"),
        (bad_level(advisoryIDs=[1]), "has an advisory that is not 1 to 64 characters"),
        (bad_tcb(pcesvn=65536), "has a field pcesvn that is not 0 to 65535"),
        (bad_tcb(sgxtcbcomponents=[{"svn": 1}] * 15), "has 15 sgxtcbcomponents, not 16"),
        (bad_tcb(sgxtcbcomponents=[{"svn": 1}] * 17), "has a field sgxtcbcomponents that is not a list of 1 to 16"),
        (bad_tcb(sgxtcbcomponents=[{"svn": 256}] * 16), "has a field svn that is not 0 to 255"),
        (bad_tcb(tdxtcbcomponents=[{"svn": 1}] * 15), "has 15 tdxtcbcomponents, not 16"),
        (bad_tcb(tdxtcbcomponents=None), "has a field tdxtcbcomponents that is not a list of 1 to 16"),
        ({"tdxModule": None}, "has something else where an object must be"),
        ({"tdxModule": {**MODULE, "mrsigner": "00" * 47}}, "has a field mrsigner that is not 48 bytes in hexadecimal"),
        ({"tdxModuleIdentities": []}, "has a field tdxModuleIdentities that is not a list of 1 to 64"),
        ({"tdxModuleIdentities": [MODULE] * 65}, "has a field tdxModuleIdentities that is not a list of 1 to 64"),
        (bad_module(id=None), "has a field id that is not a short text"),
        (bad_module(mrsigner="00"), "has a field mrsigner that is not 48 bytes in hexadecimal"),
        (bad_module(attributes="00"), "has a field attributes that is not 8 bytes in hexadecimal"),
        (bad_module(attributesMask="00"), "has a field attributesMask that is not 8 bytes in hexadecimal"),
        (bad_module(tcbLevels=[svn_level(1, "SWHardeningNeeded")]), "is neither UpToDate, OutOfDate nor Revoked"),
        (bad_module(tcbLevels=[]), "has a field tcbLevels that is not a list of 1 to 256"),
        (bad_module(tcbLevels=[svn_level(65536)]), "has a field isvsvn that is not 0 to 65535"),
    ],
)
def test_tcb_information_of_another_shape_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    told = refusal(lambda: parse_tcb_info(spell({**INFO, **changes})))
    assert told.startswith("the TCB information ")
    assert message in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "QVE"}, "is not version 2 of QE or TD_QE"),
        ({"version": 1}, "is not version 2 of QE or TD_QE"),
        ({"issueDate": ""}, "has a field issueDate that is not a short text"),
        ({"tcbEvaluationDataNumber": "1"}, "has a field tcbEvaluationDataNumber that is not 0 to 4294967295"),
        ({"miscselect": "00"}, "has a field miscselect that is not 4 bytes in hexadecimal"),
        ({"miscselectMask": "00"}, "has a field miscselectMask that is not 4 bytes in hexadecimal"),
        ({"attributes": "0x" + "0" * 30}, "has a field attributes that is not 16 bytes in hexadecimal"),
        ({"attributes": "00"}, "has a field attributes that is not 16 bytes in hexadecimal"),
        ({"attributesMask": "00"}, "has a field attributesMask that is not 16 bytes in hexadecimal"),
        ({"mrsigner": "00"}, "has a field mrsigner that is not 32 bytes in hexadecimal"),
        ({"isvprodid": 65536}, "has a field isvprodid that is not 0 to 65535"),
        ({"tcbLevels": []}, "has a field tcbLevels that is not a list of 1 to 256"),
        ({"tcbLevels": [{"tcb": {}}]}, "has a field isvsvn that is not 0 to 65535"),
    ],
)
def test_an_identity_of_another_shape_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    assert refusal(lambda: parse_qe_identity(spell({**QE, **changes}))) == f"the QE identity {message}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b" " * (MAX_STATEMENT_BYTES + 1), "the QE identity has 524289 bytes, 524288 are allowed"),
        (b"{", "the QE identity is not JSON"),
        (b"\xff", "the QE identity is not JSON"),
        (b"[" * 100_000, "the QE identity is not JSON"),
        (b"[]", "the QE identity has something else where an object must be"),
    ],
)
def test_what_is_no_object_is_refused(body: bytes, message: str) -> None:
    assert refusal(lambda: parse_qe_identity(body)) == message


def test_all_of_tcb_information_is_read_and_its_levels_put_in_order() -> None:
    low, middle, high = level((1,), 2, (3,)), level((1,), 3, (1,)), level((2,), 1, (1,), "Revoked", "A", "B")
    same = level((2,), 1, (2,), "OutOfDate")
    modules = [{**MODULE, "id": "tdx_0a", "tcbLevels": [svn_level(1, "OutOfDate", "C"), svn_level(2)]}]
    info = parse_tcb_info(spell({**INFO, "tcbLevels": [low, middle, high, same], "tdxModuleIdentities": modules}))
    assert [(each.sgx[0], each.pce_svn, each.tdx[0]) for each in info.levels] == [
        (2, 1, 2),
        (2, 1, 1),
        (1, 3, 1),
        (1, 2, 3),
    ]
    assert info.levels[1] == TcbLevel(
        (2, *[0] * 15), (1, *[0] * 15), 1, Standing(TcbStatus.REVOKED, "2024-11-13T00:00:00Z", ("A", "B"))
    )
    good = SvnLevel(2, Standing(TcbStatus.UP_TO_DATE, "2024-11-13T00:00:00Z"))
    old = SvnLevel(1, Standing(TcbStatus.OUT_OF_DATE, "2024-11-13T00:00:00Z", ("C",)))
    base = ModuleIdentity("", bytes(48), bytes(8), b"\xff" * 8)
    assert info.modules == (base, ModuleIdentity("TDX_0A", bytes(48), bytes(8), b"\xff" * 8, (good, old)))
    assert (info.tee, info.fmspc, info.pce_id, info.number) == ("TDX", SIM.fmspc, b"\0\0", 17)
    assert info.window == Window(ISSUED, NEXT)
    assert info.window.not_after.tzinfo is dt.UTC


def test_information_about_sgx_knows_no_modules() -> None:
    info = parse_tcb_info(spell({**SGX, "tdxModuleIdentities": "whatever"}))
    assert (info.tee, info.modules, info.levels[0].tdx) == ("SGX", (), ())
    alone = parse_tcb_info(spell({key: value for key, value in INFO.items() if key != "tdxModuleIdentities"}))
    assert [each.name for each in alone.modules] == [""]


def test_hexadecimal_of_either_case_is_read() -> None:
    every = "0123456789abcdefABCDEF0000000000"
    assert parse_qe_identity(spell({**QE, "attributes": every})).attributes == bytes.fromhex(every)


def test_a_statement_may_be_as_long_as_allowed_and_its_numbers_as_large() -> None:
    body = spell(
        {**QE, "isvprodid": 65535, "tcbEvaluationDataNumber": 0xFFFFFFFF, "tcbLevels": [svn_level(65535)] * 256}
    )
    identity = parse_qe_identity(body + b" " * (MAX_STATEMENT_BYTES - len(body)))
    assert (identity.isv_prod_id, identity.number, len(identity.levels)) == (65535, 0xFFFFFFFF, 256)
    high = level([255] * 16, 65535, [255] * 16, "UpToDate", *["A" * 64] * 256)
    many = {"tcbLevels": [high, *[level((), 0, ())] * 255], "tdxModuleIdentities": [MODULE] * 64}
    info = parse_tcb_info(spell({**INFO, **many, "fmspc": "00" * 6, "pceId": "ffff"}))
    assert (len(info.levels), len(info.modules), info.levels[0].pce_svn, info.levels[0].sgx[0]) == (256, 65, 65535, 255)
    assert len(info.levels[0].standing.advisories) == 256
    zeros = parse_tcb_info(spell({**INFO, "tcbLevels": [level((), 0, ())], "tcbEvaluationDataNumber": 0}))
    assert (zeros.number, zeros.levels[0].pce_svn) == (0, 0)


def test_texts_have_one_to_64_letters_and_a_module_any_standing_of_three() -> None:
    levels = [svn_level(1, "Revoked"), svn_level(2, "OutOfDate"), svn_level(3, "UpToDate")]
    for name in ("m", "m" * 64):
        info = parse_tcb_info(spell({**INFO, **bad_module(id=name, tcbLevels=levels)}))
        assert (info.modules[1].name, len(info.modules[1].levels)) == (name.upper(), 3)
    told = refusal(lambda: parse_tcb_info(spell({**INFO, **bad_module(id="m" * 65)})))
    assert told == "the TCB information has a field id that is not a short text"


def test_the_enclave_of_sgx_has_an_identity_too() -> None:
    assert parse_qe_identity(spell({**QE, "id": "QE"})).name == "QE"


def test_all_of_an_identity_is_read() -> None:
    changes = {"miscselect": "01020304", "tcbLevels": [svn_level(1, "OutOfDate"), svn_level(4)]}
    identity = parse_qe_identity(spell({**QE, **changes}))
    assert [(each.svn, each.standing.status) for each in identity.levels] == [
        (4, TcbStatus.UP_TO_DATE),
        (1, TcbStatus.OUT_OF_DATE),
    ]
    assert (identity.name, identity.number, identity.isv_prod_id) == ("TD_QE", 18, 2)
    assert (identity.misc_select, identity.misc_mask) == (b"\1\2\3\4", b"\xff" * 4)
    assert (identity.attributes[0], identity.attributes_mask[:9]) == (0x11, b"\xfb" + b"\xff" * 7 + b"\0")
    assert (identity.mr_signer, identity.window) == (QE_SIGNER, Window(ISSUED, NEXT))


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from([*INFO, *QE]), JSON, max_size=3))
def test_any_json_is_read_or_refused(changes: dict[str, Any]) -> None:
    assert isinstance(attempt(lambda: parse_tcb_info(spell({**INFO, **changes}))), TcbInfo | RefusedError)
    assert isinstance(attempt(lambda: parse_qe_identity(spell({**QE, **changes}))), QeIdentity | RefusedError)
