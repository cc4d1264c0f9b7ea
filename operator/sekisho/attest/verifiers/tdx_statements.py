"""Parse what Intel states about security versions: TCB information (version 3) and identities of quoting enclaves (2).

Shapes: Intel SGX and TDX Provisioning Certification Service API, version 4. What is parsed here was or will be checked
by its signature over exactly the bytes that were delivered.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sekisho.attest.claims import TcbStatus, Window
from sekisho.errors import Reason, RefusedError

MAX_STATEMENT_BYTES: Final = 512 * 1024
MAX_LEVELS: Final = 256
MAX_IDENTITIES: Final = 64
MAX_ADVISORIES: Final = 256
COMPONENTS: Final = 16
_MODULE_STATUSES: Final = frozenset({TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED})
_STATUSES: Final = {status.value: status for status in TcbStatus if status is not TcbStatus.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Standing:
    """How Intel judges a level.

    Attributes:
        date: When Intel knew of no more issues than the advisories, as it was told.
    """

    status: TcbStatus
    date: str
    advisories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TcbLevel:
    """Security versions of a platform and how they stand.

    Attributes:
        sgx: 16 least SVNs.
        tdx: 16 least SVNs; empty in information about SGX.
    """

    sgx: tuple[int, ...]
    tdx: tuple[int, ...]
    pce_svn: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class SvnLevel:
    """The least SVN of a TDX module or quoting enclave and how it stands."""

    svn: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """What a TDX module must be.

    Attributes:
        name: "TDX_" and two hexadecimal digits of its major version; empty for what holds of version 0.
        mr_signer: 48 bytes.
        attributes: 8 bytes.
        mask: 8 bytes: which bits of the attributes count.
        levels: The highest SVN first.
    """

    name: str
    mr_signer: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[SvnLevel, ...] = ()


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """TCB information of one FMSPC.

    Attributes:
        tee: "SGX" or "TDX".
        number: Of the evaluation that found all this; it only grows.
        levels: In the order in which they are to be tried, the highest first.
        modules: The first, without a name, holds of major version 0; none in information about SGX.
    """

    tee: str
    window: Window
    fmspc: bytes
    pce_id: bytes
    number: int
    levels: tuple[TcbLevel, ...]
    modules: tuple[ModuleIdentity, ...]


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """What a quoting enclave must be.

    Attributes:
        name: "QE" for SGX, "TD_QE" for TDX.
        levels: The highest SVN first.
    """

    name: str
    window: Window
    number: int
    misc_select: bytes
    misc_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[SvnLevel, ...]


def parse_tcb_info(body: bytes) -> TcbInfo:
    """Parse TCB information as it is signed.

    Raises:
        RefusedError: CollateralInvalid, naming the first field that is not as it must be.
    """
    fields = _parse(body, "the TCB information")
    if fields.text("id") not in ("SGX", "TDX") or fields.number("version") != 3 or fields.number("tcbType") != 0:
        raise fields.invalid("is not version 3 of SGX or TDX with components of type 0")
    tee = fields.text("id")
    levels = tuple(_take_level(item, tdx=tee == "TDX") for item in fields.objects("tcbLevels", most=MAX_LEVELS))
    return TcbInfo(
        tee=tee,
        window=fields.window(),
        fmspc=fields.octets("fmspc", 6),
        pce_id=fields.octets("pceId", 2),
        number=fields.number("tcbEvaluationDataNumber"),
        levels=tuple(sorted(levels, key=lambda level: (level.sgx, level.pce_svn, level.tdx), reverse=True)),
        modules=_take_modules(fields) if tee == "TDX" else (),
    )


def parse_qe_identity(body: bytes) -> QeIdentity:
    """Parse the identity of a quoting enclave as it is signed.

    Raises:
        RefusedError: CollateralInvalid, naming the first field that is not as it must be.
    """
    fields = _parse(body, "the QE identity")
    if fields.text("id") not in ("QE", "TD_QE") or fields.number("version") != 2:
        raise fields.invalid("is not version 2 of QE or TD_QE")
    return QeIdentity(
        name=fields.text("id"),
        window=fields.window(),
        number=fields.number("tcbEvaluationDataNumber"),
        misc_select=fields.octets("miscselect", 4),
        misc_mask=fields.octets("miscselectMask", 4),
        attributes=fields.octets("attributes", 16),
        attributes_mask=fields.octets("attributesMask", 16),
        mr_signer=fields.octets("mrsigner", 32),
        isv_prod_id=fields.number("isvprodid", most=0xFFFF),
        levels=_take_svn_levels(fields),
    )


def _take_modules(fields: "_Fields") -> tuple[ModuleIdentity, ...]:
    first = _take_module(fields.object("tdxModule"), named=False)
    if "tdxModuleIdentities" not in fields.values:
        return (first,)
    others = fields.objects("tdxModuleIdentities", most=MAX_IDENTITIES)
    return (first, *(_take_module(item, named=True) for item in others))


def _take_level(fields: "_Fields", *, tdx: bool) -> TcbLevel:
    tcb = fields.object("tcb")
    return TcbLevel(
        sgx=_take_components(tcb, "sgxtcbcomponents"),
        tdx=_take_components(tcb, "tdxtcbcomponents") if tdx else (),
        pce_svn=tcb.number("pcesvn", most=0xFFFF),
        standing=_take_standing(fields),
    )


def _take_components(tcb: "_Fields", name: str) -> tuple[int, ...]:
    svns = tuple(item.number("svn", most=0xFF) for item in tcb.objects(name, most=COMPONENTS))
    if len(svns) != COMPONENTS:
        raise tcb.invalid(f"has {len(svns)} {name}, not {COMPONENTS}")
    return svns


def _take_module(fields: "_Fields", *, named: bool) -> ModuleIdentity:
    levels = _take_svn_levels(fields) if named else ()
    if not {level.standing.status for level in levels} <= _MODULE_STATUSES:
        raise fields.invalid("has a level of a TDX module that is neither UpToDate, OutOfDate nor Revoked")
    return ModuleIdentity(
        name=fields.text("id").upper() if named else "",
        mr_signer=fields.octets("mrsigner", 48),
        attributes=fields.octets("attributes", 8),
        mask=fields.octets("attributesMask", 8),
        levels=levels,
    )


def _take_svn_levels(fields: "_Fields") -> tuple[SvnLevel, ...]:
    levels = [
        SvnLevel(item.object("tcb").number("isvsvn", most=0xFFFF), _take_standing(item))
        for item in fields.objects("tcbLevels", most=MAX_LEVELS)
    ]
    return tuple(sorted(levels, key=lambda level: level.svn, reverse=True))


def _take_standing(fields: "_Fields") -> Standing:
    status = _STATUSES.get(fields.text("tcbStatus"))
    if status is None:
        raise fields.invalid(f'has the status "{fields.text("tcbStatus")}", which is none of Intel\'s')
    advisories = fields.values.get("advisoryIDs", [])
    if not isinstance(advisories, list) or len(advisories) > MAX_ADVISORIES:
        raise fields.invalid(f"has advisoryIDs that are no list of at most {MAX_ADVISORIES}")
    if not all(isinstance(name, str) and 0 < len(name) <= 64 for name in advisories):
        raise fields.invalid("has an advisory that is not 1 to 64 characters")
    return Standing(status, fields.text("tcbDate"), tuple(advisories))


def _parse(body: bytes, name: str) -> "_Fields":
    if len(body) > MAX_STATEMENT_BYTES:
        raise RefusedError(
            Reason.COLLATERAL_INVALID, f"{name} has {len(body)} bytes, {MAX_STATEMENT_BYTES} are allowed"
        )
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(Reason.COLLATERAL_INVALID, f"{name} is not JSON") from error
    return _Fields.of(value, name)


@dataclass(frozen=True, slots=True)
class _Fields:
    """An object of a statement, whose fields are taken by type."""

    values: Mapping[str, Any]
    name: str

    @classmethod
    def of(cls, value: Any, name: str) -> "_Fields":
        if not isinstance(value, dict):
            raise RefusedError(Reason.COLLATERAL_INVALID, f"{name} has something else where an object must be")
        return cls(value, name)

    def text(self, field: str) -> str:
        return str(self._take(field, lambda value: isinstance(value, str) and 0 < len(value) <= 64, "a short text"))

    def number(self, field: str, *, most: int = 0xFFFFFFFF) -> int:
        return int(self._take(field, lambda value: type(value) is int and 0 <= value <= most, f"0 to {most}"))

    def octets(self, field: str, size: int) -> bytes:
        text = self._take(field, lambda value: _is_hex(value, size), f"{size} bytes in hexadecimal")
        return bytes.fromhex(text)

    def object(self, field: str) -> "_Fields":
        return _Fields.of(self.values.get(field), self.name)

    def objects(self, field: str, *, most: int) -> Sequence["_Fields"]:
        what = f"a list of 1 to {most}"
        items = self._take(field, lambda value: isinstance(value, list) and 1 <= len(value) <= most, what)
        return [_Fields.of(item, self.name) for item in items]

    def window(self) -> Window:
        return Window(self._time("issueDate"), self._time("nextUpdate"))

    def _time(self, field: str) -> datetime:
        try:
            return datetime.strptime(self.text(field), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise self.invalid(f"has a field {field} that is no time like 2025-06-19T10:16:03Z") from error

    def _take(self, field: str, is_right: Callable[[Any], bool], what: str) -> Any:
        value = self.values.get(field)
        if not is_right(value):
            raise self.invalid(f"has a field {field} that is not {what}")
        return value

    def invalid(self, what: str) -> RefusedError:
        return RefusedError(Reason.COLLATERAL_INVALID, f"{self.name} {what}")


def _is_hex(value: Any, size: int) -> bool:
    return isinstance(value, str) and len(value) == 2 * size and set(value) <= set("0123456789abcdefABCDEF")
