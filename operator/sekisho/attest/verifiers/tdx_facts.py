"""Spell what quotes say beside measurements as facts: names and text that policies can ask for.

Bits of a trust domain's ATTRIBUTES: Intel TDX Module ABI Specification, table "TD_ATTRIBUTES".
"""

import re
from collections.abc import Sequence
from typing import Final

from sekisho.attest.eventlog import RTMRS, LoggedEvent
from sekisho.attest.verifiers.tdx_pck import Platform
from sekisho.attest.verifiers.tdx_quote import EnclaveReport, TdReport
from sekisho.attest.verifiers.tdx_tcb import Verdict
from sekisho.errors import Reason, RefusedError

_BITS: Final = (
    ("debug", 0),
    ("hgs-plus-prof", 4),
    ("perf-prof", 5),
    ("pmt-prof", 6),
    ("icssd", 16),
    ("lass", 27),
    ("sept-ve-disable", 28),
    ("migratable", 29),
    ("pks", 30),
    ("kl", 31),
    ("tpa", 62),
    ("perfmon", 63),
)
_DEFINED: Final = sum(1 << bit for _, bit in _BITS)
_GUARDING: Final = 0xFFFFFFFF  # bits 31:0 bear on the domain's security, the others do not

_MOST_EVENTS: Final = 32
_MOST_DATA: Final = 256
_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

Facts = list[tuple[str, str]]


def describe_platform(platform: Platform, verdict: Verdict) -> Facts:
    """Spell what Intel certified of the platform."""
    facts = [
        ("fmspc", platform.fmspc.hex()),
        ("pceid", platform.pce_id.hex()),
        ("platform", platform.kind),
        ("tcb-date", verdict.date),
    ]
    if platform.instance:
        facts.append(("platform-instance", platform.instance.hex()))
    return facts + [(name, _spell(value)) for name, value in platform.configuration]


def describe_domain(report: TdReport, verdict: Verdict) -> Facts:
    """Spell what the TDX module says of a trust domain.

    Raises:
        RefusedError: EvidenceInvalid; an attribute is set that bears on security and that nobody has defined.
    """
    bits = int.from_bytes(report.td_attributes, "little")
    if bits & _GUARDING & ~_DEFINED:
        raise RefusedError(
            Reason.EVIDENCE_INVALID,
            f"the trust domain has attributes {report.td_attributes.hex()}, of which some are not defined",
        )
    facts = [(name, _spell(bool(bits >> bit & 1))) for name, bit in _BITS[1:]]
    facts += [
        ("attributes", report.td_attributes.hex()),
        ("mrowner", report.mr_owner.hex()),
        ("mrownerconfig", report.mr_owner_config.hex()),
        ("mrseam", report.mr_seam.hex()),
        ("mrsignerseam", report.mr_signer_seam.hex()),
        ("relaunch-advised", _spell(verdict.relaunch)),
        ("xfam", report.xfam.hex()),
    ]
    return facts + ([("mrservicetd", report.mr_service_td.hex())] if report.mr_service_td else [])


def describe_enclave(report: EnclaveReport) -> Facts:
    """Spell what the processor says of an enclave."""
    return [
        ("attributes", report.attributes.hex()),
        ("isvprodid", str(report.isv_prod_id)),
        ("miscselect", report.misc_select.hex()),
        ("mrsigner", report.mr_signer.hex()),
    ]


def describe_events(events: Sequence[LoggedEvent]) -> Facts:
    """Spell the runtime events of a log that was replayed, the first of each name.

    Whatever runs in the guest later can log more, but nothing before what was logged already: so the first counts.
    Names that are not plain words, data of more than 256 bytes and what comes after 32 names are left out.
    """
    first: dict[str, str] = {}
    for event in events:
        if event.name and event.register == RTMRS and len(first) < _MOST_EVENTS:
            first.setdefault(event.name, event.data.hex() if len(event.data) <= _MOST_DATA else "")
    return [(f"event.{name}", data) for name, data in first.items() if _WORD.fullmatch(name) and data]


def _spell(value: bool) -> str:
    return "true" if value else "false"
