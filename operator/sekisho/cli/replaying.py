"""Decide again about a release that was recorded, as it was or under other rules; nothing outside is asked."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.broker.decide import decide_release
from sekisho.broker.releasefacts import Decision, OwnerPolicy, ReleaseFacts, ReleaseRules, TenantGrant
from sekisho.broker.replay import parse_facts, suppose_rules
from sekisho.cli.failures import refuse
from sekisho.errors import Reason, RefusedError

_MAX_BYTES: Final = 8 << 20
_RELEASED: Final = "Released"


def replay(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Decide again about the facts in a file, under the options of the command.

    Raises:
        RefusedError: The verdict, where it is a refusal that was not expected; or what cannot be read.
    """
    facts = _suppose(_read_facts(given["facts"]), given)
    expected = given["expect"]
    try:
        decision = decide_release(facts)
    except RefusedError as error:
        if expected != error.reason.value:
            raise _unexpected(expected, error) from None
        return {"verdict": error.reason.value, "message": error.message}, f"refused: {error.reason}: {error.message}"
    if expected not in (None, _RELEASED):
        raise refuse(f"the key is released, {expected} was expected", reason=Reason.APPRAISAL_FAILED)
    return _describe(facts, decision)


def _unexpected(expected: str | None, error: RefusedError) -> RefusedError:
    wanted = f" (expected was {expected})" if expected else ""
    return RefusedError(error.reason, f"{error.message}{wanted}")


def _describe(facts: ReleaseFacts, decision: Decision) -> tuple[dict[str, Any], str]:
    told = {
        "verdict": _RELEASED,
        "leaseSeconds": decision.lease_seconds,
        "keyReleasePolicy": decision.owner,
        "dataGrant": decision.tenant,
        "evidencePolicies": list(decision.evidence_policies),
        "minimumKeyVersion": decision.minimum_key_version,
        "policyDigest": decision.policy_digest,
        "evidenceDigest": decision.evidence_digest,
    }
    question, workload = facts.question, facts.workload
    model = f"the key of {question.model} version {question.version}"
    lines = [
        f"released: pod {workload.namespace}/{workload.pod} may open {model} for {decision.lease_seconds} s",
        f"  service           {workload.full_name}, class {workload.service_class}, site {workload.site}",
        f"  users             {', '.join(sorted(workload.users))}",
        f"  KeyReleasePolicy  {decision.owner}",
        f"  DataGrant         {decision.tenant}",
        f"  EvidencePolicy    {', '.join(decision.evidence_policies)}",
        f"  key               {question.kms}:{question.key_id}, version {decision.minimum_key_version} or newer",
        f"  rules             {decision.policy_digest}",
        f"  evidence          {decision.evidence_digest}",
    ]
    return told, "\n".join(lines)


def _read_facts(path: Path) -> ReleaseFacts:
    try:
        value = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise refuse(f"{path} is not JSON", reason=Reason.REQUEST_INVALID) from None
    # A line of the record holds the facts as one of its members.
    if isinstance(value, dict) and isinstance(value.get("facts"), dict):
        value = value["facts"]
    return parse_facts(value)


def _read(path: Path) -> str:
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise refuse(f"{path} has {size} bytes, {_MAX_BYTES} are read", reason=Reason.REQUEST_TOO_LARGE)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise refuse(f"{path} is not text in UTF-8", reason=Reason.REQUEST_INVALID) from None


def _suppose(facts: ReleaseFacts, given: Mapping[str, Any]) -> ReleaseFacts:
    rules = facts.rules
    for name in given["removed"]:
        rules = _remove(rules, name)
    for path in given["changed"]:
        for document in _read_documents(path):
            rules = _put(rules, document, path)
    if rules is not facts.rules:
        facts = suppose_rules(facts, rules)
    if given["at"]:
        now = _read_time(given["at"])
        facts = replace(facts, now=now, challenged_at=now - (facts.now - facts.challenged_at))
    return facts


def _read_time(text: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise refuse(f'--at "{text[:64]}" is no time such as 2026-12-01T00:00:00Z', reason=Reason.REQUEST_INVALID)
    return parsed


def _read_documents(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(_read(path)))
    except (yaml.YAMLError, RecursionError):
        raise refuse(f"{path} is not YAML", reason=Reason.REQUEST_INVALID) from None
    for document in documents:
        if document is not None:
            if not isinstance(document, dict) or document.get("kind") not in _PUTTERS:
                raise refuse(f"{path} holds something else than {', '.join(_PUTTERS)}", reason=Reason.REQUEST_INVALID)
            yield document


def _put(rules: ReleaseRules, document: Mapping[str, Any], path: Path) -> ReleaseRules:
    """Put one object into force, in the place of the one of its kind and name."""
    kind, meta = document["kind"], document.get("metadata") or {}
    name, namespace = str(meta.get("name", "")), str(meta.get("namespace", ""))
    try:
        return _PUTTERS[kind](rules, namespace, name, document.get("spec"))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        message = f"{path}: {kind} {name}: spec.{where}: {problem['msg']}"
        raise refuse(message, reason=Reason.INVALID_SPEC) from None


def _put_law(rules: ReleaseRules, _: str, __: str, spec: Any) -> ReleaseRules:
    return replace(rules, law=ClassificationPolicySpec.model_validate(spec))


def _put_site(rules: ReleaseRules, _: str, name: str, spec: Any) -> ReleaseRules:
    return replace(rules, sites={**rules.sites, name: SiteSpec.model_validate(spec)})


def _put_evidence(rules: ReleaseRules, _: str, name: str, spec: Any) -> ReleaseRules:
    return replace(rules, evidence={**rules.evidence, name: EvidencePolicySpec.model_validate(spec)})


def _put_owner(rules: ReleaseRules, namespace: str, name: str, spec: Any) -> ReleaseRules:
    fresh = OwnerPolicy(namespace, name, KeyReleasePolicySpec.model_validate(spec))
    return replace(rules, owners=(*(o for o in rules.owners if o.full_name != fresh.full_name), fresh))


def _put_tenant(rules: ReleaseRules, namespace: str, name: str, spec: Any) -> ReleaseRules:
    fresh = TenantGrant(namespace, name, DataGrantSpec.model_validate(spec))
    return replace(rules, tenants=(*(t for t in rules.tenants if t.full_name != fresh.full_name), fresh))


_PUTTERS: Final[Mapping[str, Callable[[ReleaseRules, str, str, Any], ReleaseRules]]] = {
    "ClassificationPolicy": _put_law,
    "Site": _put_site,
    "EvidencePolicy": _put_evidence,
    "KeyReleasePolicy": _put_owner,
    "DataGrant": _put_tenant,
}


def _remove(rules: ReleaseRules, what: str) -> ReleaseRules:
    """Take one object out of force; naming one that is not there is a mistake."""
    kind, _, name = what.partition("/")
    left = {
        "ClassificationPolicy": lambda: replace(rules, law=None),
        "Site": lambda: replace(rules, sites={n: spec for n, spec in rules.sites.items() if n != name}),
        "EvidencePolicy": lambda: replace(rules, evidence={n: s for n, s in rules.evidence.items() if n != name}),
        "KeyReleasePolicy": lambda: replace(rules, owners=tuple(o for o in rules.owners if o.full_name != name)),
        "DataGrant": lambda: replace(rules, tenants=tuple(t for t in rules.tenants if t.full_name != name)),
    }.get(kind, lambda: rules)()
    if left == rules:
        raise refuse(f'the facts have no "{what[:128]}" that could be left out', reason=Reason.REQUEST_INVALID)
    return left
