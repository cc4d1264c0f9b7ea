"""Evidence in files: verified, held against a policy, and turned into the values to expect."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from sekisho.api.v1alpha1.evidencepolicy import MEASURED, EvidencePolicySpec
from sekisho.attest.appraise import appraise, find_unacceptable
from sekisho.attest.claims import Claims, Tee
from sekisho.attest.evidence import MAX_EVIDENCE_BYTES, parse_evidence
from sekisho.attest.verifiers.select import Collateral, verify_evidence
from sekisho.attest.verifiers.tpm import TpmCollateral
from sekisho.cli.collateral_bundle import load_folder, read_time
from sekisho.cli.failures import refuse
from sekisho.errors import Reason, RefusedError
from sekisho.plan.evidence import read_evidence_policy

_MOST: Final = 2 * MAX_EVIDENCE_BYTES


def verify_file(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Verify the evidence of a file.

    Raises:
        RefusedError: As the verifiers do.
    """
    at = read_time(given["at"])
    claims = _verify(given["file"], _open_collateral(given, at), at)
    told = [_describe(claim) for claim in claims]
    return {"claims": told}, "\n\n".join(_spell(item) for item in told)


def explain_file(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Verify the evidence of a file and appraise it by a policy.

    Raises:
        RefusedError: As the verifiers do; or the first rule that does not hold.
    """
    at = read_time(given["at"])
    claims = _verify(given["file"], _open_collateral(given, at), at)
    name, spec = _read_policy(given["policy"])
    fault = find_unacceptable(claims, now=at)
    if fault is not None:
        raise RefusedError.of(fault)
    appraisal = appraise(claims, read_evidence_policy(name, spec, site=given["site"]), now=at)
    told = {"policy": name, "evidence": list(appraisal.evidence), "notAfter": appraisal.not_after.isoformat()}
    kinds = " and ".join(sorted(claim.tee for claim in claims))
    return told, f'EvidencePolicy "{name}" holds for this {kinds} evidence until {appraisal.not_after:%Y-%m-%dT%H:%MZ}'


def print_reference_values(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Put the values of recorded evidence together as an alternative of an EvidencePolicy.

    Raises:
        RefusedError: As the verifiers do; AppraisalFailed for evidence that no policy may accept.
    """
    at = read_time(given["at"])
    collateral = _open_collateral(given, at)
    claims = [claim for path in given["files"] for claim in _verify(path, collateral, at)]
    for claim in claims:
        fault = find_unacceptable((claim,), now=at)
        if fault is not None:
            raise RefusedError.of(fault)
    registers = tuple(filter(None, given["registers"].split(",")))
    kinds = sorted({claim.tee for claim in claims})
    rules = [_make_rule(tee, [claim for claim in claims if claim.tee is tee], registers) for tee in kinds]
    alternative = {"name": given["name"], "evidence": rules}
    _check(alternative)
    text: str = yaml.safe_dump({"anyOf": [alternative]}, sort_keys=False).rstrip()
    return {"anyOf": [alternative]}, text


def _make_rule(tee: Tee, claims: list[Claims], registers: Iterable[str]) -> dict[str, Any]:
    rule: dict[str, Any] = {"tee": tee.value}
    measurements = sorted({claim.measurement.hex() for claim in claims if claim.measurement})
    wanted = [(name, sorted({_register(claim, name).hex() for claim in claims})) for name in registers]
    # Of a TPM the measurement is a digest over whichever registers were quoted: registers that are named say more.
    if measurements and (tee.value in MEASURED or not wanted):
        rule["measurements"] = measurements
    if wanted:
        rule["registers"] = [{"name": name, "values": values} for name, values in wanted]
    if tee is Tee.SNP:
        components = sorted({name for claim in claims for name, _ in claim.tcb if "." not in name})
        rule["minimumTcb"] = [
            {"component": name, "version": min(dict(claim.tcb)[name] for claim in claims if name in dict(claim.tcb))}
            for name in components
        ]
    if tee in {Tee.NVIDIA_GPU, Tee.NVIDIA_SWITCH}:
        rule["facts"] = [{"name": "measurements", "values": ["matched"]}]
    return rule


def _register(claim: Claims, name: str) -> bytes:
    value = claim.register(name)
    if value is None:
        there = ", ".join(key for key, _ in claim.registers) or "none"
        raise refuse(f"{claim.tee} evidence has no register {name}; it has {there}", reason=Reason.EVIDENCE_INVALID)
    return value


def _check(alternative: Mapping[str, Any]) -> None:
    """Make sure that what is printed can be applied."""
    try:
        EvidencePolicySpec.model_validate({"anyOf": [alternative]})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise refuse(f"these values make no policy: {first['msg']}", reason=Reason.APPRAISAL_FAILED) from None


def _verify(path: Path, collateral: Collateral, at: datetime) -> tuple[Claims, ...]:
    if path.stat().st_size > _MOST:
        raise refuse(f"{path} has more than {_MOST} bytes", reason=Reason.REQUEST_TOO_LARGE)
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise refuse(f"{path} is not JSON", reason=Reason.EVIDENCE_INVALID) from None
    pieces = parse_evidence(value.get("evidence") if isinstance(value, dict) else value)
    return tuple(verify_evidence(piece, collateral, at=at) for piece in pieces)


def _open_collateral(given: Mapping[str, Any], at: datetime) -> Collateral:
    try:
        enrolled = frozenset(bytes.fromhex(name) for name in given["enrolled"])
    except ValueError:
        raise refuse("--enrolled is not hexadecimal", reason=Reason.REQUEST_INVALID) from None
    collateral = load_folder(given["collateral"], at).collateral
    return replace(collateral, tpm=TpmCollateral(enrolled=enrolled)) if enrolled else collateral


def _read_policy(path: Path) -> tuple[str, EvidencePolicySpec]:
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        found = next(item for item in documents if isinstance(item, dict) and item.get("kind") == "EvidencePolicy")
        return str(found["metadata"]["name"]), EvidencePolicySpec.model_validate(found["spec"])
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise refuse(f"{path}: {first['msg']}", reason=Reason.INVALID_SPEC) from None
    except (StopIteration, KeyError, TypeError, ValueError, yaml.YAMLError):
        raise refuse(f"{path} has no EvidencePolicy that can be read", reason=Reason.INVALID_SPEC) from None


def _describe(claim: Claims) -> dict[str, Any]:
    return {
        "tee": claim.tee.value,
        "debug": claim.debug,
        "tcbStatus": claim.tcb_status.value,
        "tcb": dict(claim.tcb),
        "measurement": claim.measurement.hex(),
        "registers": {name: value.hex() for name, value in claim.registers},
        "configuration": claim.configuration.hex(),
        "boundData": claim.bound_data.hex(),
        "chipId": None if claim.chip_id is None else claim.chip_id.hex(),
        "advisories": list(claim.advisories),
        "facts": dict(claim.facts),
        "notBefore": claim.window.not_before.isoformat(),
        "notAfter": claim.window.not_after.isoformat(),
        "evidenceDigest": claim.evidence_digest,
        "parts": [_describe(part) for part in claim.parts],
    }


def _spell(told: Mapping[str, Any], indent: str = "") -> str:
    lines = [f"{indent}{told['tee']}"]
    for key, value in told.items():
        if key in {"tee", "parts"} or value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            lines += [f"{indent}  {key}.{name}: {item}" for name, item in value.items()]
        else:
            lines.append(f"{indent}  {key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return "\n".join([*lines, *(_spell(part, f"{indent}  ") for part in told["parts"])])
