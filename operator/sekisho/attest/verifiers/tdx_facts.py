"""Spell what quotes say beside measurements as facts: names and text that policies can ask for.

Bits of a trust domain's ATTRIBUTES: Intel TDX Module ABI Specification, table "TD_ATTRIBUTES".
"""

from typing import Final

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


def _spell(value: bool) -> str:
    return "true" if value else "false"
