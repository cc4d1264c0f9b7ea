"""The facts of a release decision as JSON, so that it can be recorded, and decided again elsewhere. Nothing is secret.

The format is described in docs/reference/release-facts.md. What is read back decides as the original did: only the
rules that can decide about the service are written, and the digest of the rules speaks of these alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.attest.binding import Binding
from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.isolation import Verdict
from sekisho.broker.decide import choose_grants, policy_digest
from sekisho.broker.releasefacts import OwnerPolicy, Question, ReleaseFacts, ReleaseRules, TenantGrant, Workload
from sekisho.errors import Reason, RefusedError
from sekisho.ledger.entry import Spelt, spell

FORMAT: Final = "sekisho-release-facts-v1"
_MAX_DEPTH: Final = 4


def encode_facts(facts: ReleaseFacts) -> dict[str, Any]:
    """Spell facts as a JSON object."""
    workload = facts.workload
    return {**_encode_case(facts), "rules": _encode_rules(facts.rules, workload.namespace, workload.service)}


def spell_facts(facts: ReleaseFacts) -> str:
    """Spell facts as the record does; the text of the rules about a service is made once."""
    rules = facts.rules.once(_spell_rules, facts.workload.namespace, facts.workload.service)
    return spell({**_encode_case(facts), "rules": Spelt(rules)})


def _encode_case(facts: ReleaseFacts) -> dict[str, Any]:
    """Spell all but the rules."""
    isolation = facts.isolation
    return {
        "format": FORMAT,
        "question": _encode_question(facts.question),
        "workload": _encode_workload(facts.workload),
        "binding": _encode_binding(facts.binding),
        "isolation": {"ok": isolation.ok, "reason": isolation.reason.value, "message": isolation.message},
        "claims": [_encode_claims(piece) for piece in facts.claims],
        "challengedAt": _spell(facts.challenged_at),
        "now": _spell(facts.now),
    }


def _encode_question(question: Question) -> dict[str, Any]:
    return {
        "model": question.model,
        "version": question.version,
        "class": question.data_class,
        "manifestDigest": question.manifest_digest,
        "kms": question.kms,
        "keyId": question.key_id,
        "keyVersion": question.key_version,
    }


def _encode_workload(workload: Workload) -> dict[str, Any]:
    return {
        "namespace": workload.namespace,
        "service": workload.service,
        "pod": workload.pod,
        "uid": workload.uid,
        "node": workload.node,
        "images": sorted(workload.images),
        "templateDigest": workload.template_digest,
        "expectedTemplateDigest": workload.expected_template_digest,
        "serviceClass": workload.service_class,
        "site": workload.site,
        "nodeLabels": dict(workload.node_labels),
        "nodeKey": None if workload.node_key is None else workload.node_key.hex(),
        "users": sorted(workload.users),
        "gpus": workload.gpus,
    }


def _spell_rules(rules: ReleaseRules, namespace: str, service: str) -> str:
    return spell(_encode_rules(rules, namespace, service))


def _encode_rules(rules: ReleaseRules, namespace: str, service: str) -> dict[str, Any]:
    owners, tenants = choose_grants(rules, namespace, service)
    return {
        "classificationPolicy": None if rules.law is None else _dump(rules.law),
        "sites": {name: _dump(spec) for name, spec in rules.sites.items()},
        "keyReleasePolicies": [_encode_grant(item) for item in owners],
        "dataGrants": [_encode_grant(item) for item in tenants],
        "evidencePolicies": {name: _dump(spec) for name, spec in rules.evidence.items()},
    }


def _encode_grant(grant: OwnerPolicy | TenantGrant) -> dict[str, Any]:
    return {"namespace": grant.namespace, "name": grant.name, "spec": _dump(grant.spec)}


def _encode_binding(binding: Binding) -> dict[str, Any]:
    return {
        "purpose": binding.purpose,
        "nonce": binding.nonce.hex(),
        "publicKey": binding.public_key.hex(),
        "namespace": binding.namespace,
        "pod": binding.pod,
        "uid": binding.uid,
        "policyDigest": binding.policy_digest,
        "isolationDigest": binding.isolation_digest,
        "questionDigest": binding.question_digest,
    }


def _encode_claims(piece: Claims) -> dict[str, Any]:
    return {
        "tee": piece.tee.value,
        "debug": piece.debug,
        "tcbStatus": piece.tcb_status.value,
        "tcb": dict(piece.tcb),
        "measurement": piece.measurement.hex(),
        "registers": {name: value.hex() for name, value in piece.registers},
        "configuration": piece.configuration.hex(),
        "boundData": piece.bound_data.hex(),
        "chipId": None if piece.chip_id is None else piece.chip_id.hex(),
        "evidenceDigest": piece.evidence_digest,
        "notBefore": _spell(piece.window.not_before),
        "notAfter": _spell(piece.window.not_after),
        "advisories": list(piece.advisories),
        "facts": dict(piece.facts),
        "parts": [_encode_claims(part) for part in piece.parts],
    }


def _dump(spec: BaseModel) -> Any:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _spell(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def parse_facts(value: Any) -> ReleaseFacts:
    """Read facts back.

    Raises:
        RefusedError: RequestInvalid; it is not such an object, or a part of it is missing or of another shape.
    """
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        raise _invalid(f'"format" is not "{FORMAT}"')
    try:
        isolation = value["isolation"]
        return ReleaseFacts(
            question=_parse_question(value["question"]),
            workload=_parse_workload(value["workload"]),
            rules=_parse_rules(value["rules"]),
            binding=_parse_binding(value["binding"]),
            isolation=Verdict(isolation["ok"] is True, Reason(isolation["reason"]), str(isolation["message"])),
            claims=tuple(_parse_claims(item, depth=0) for item in value["claims"]),
            challenged_at=_parse_time(value["challengedAt"]),
            now=_parse_time(value["now"]),
        )
    except KeyError as error:
        raise _invalid(f"{error} is missing") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise _invalid(f"{error.title}: {where}: {problem['msg']}") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _invalid(str(error)[:256]) from None


def _parse_question(value: Mapping[str, Any]) -> Question:
    return Question(
        model=str(value["model"]),
        version=int(value["version"]),
        data_class=str(value["class"]),
        manifest_digest=str(value["manifestDigest"]),
        kms=str(value["kms"]),
        key_id=str(value["keyId"]),
        key_version=str(value["keyVersion"]),
    )


def _parse_workload(value: Mapping[str, Any]) -> Workload:
    key = value["nodeKey"]
    return Workload(
        namespace=str(value["namespace"]),
        service=str(value["service"]),
        pod=str(value["pod"]),
        uid=str(value["uid"]),
        node=str(value["node"]),
        images=frozenset(map(str, value["images"])),
        template_digest=str(value["templateDigest"]),
        expected_template_digest=str(value["expectedTemplateDigest"]),
        service_class=str(value["serviceClass"]),
        site=str(value["site"]),
        node_labels={str(name): str(label) for name, label in value["nodeLabels"].items()},
        node_key=None if key is None else bytes.fromhex(key),
        users=frozenset(map(str, value["users"])),
        gpus=int(value["gpus"]),
    )


def _parse_rules(value: Mapping[str, Any]) -> ReleaseRules:
    law = value["classificationPolicy"]
    return ReleaseRules(
        law=None if law is None else ClassificationPolicySpec.model_validate(law),
        sites={str(name): SiteSpec.model_validate(spec) for name, spec in value["sites"].items()},
        owners=tuple(
            OwnerPolicy(str(item["namespace"]), str(item["name"]), KeyReleasePolicySpec.model_validate(item["spec"]))
            for item in value["keyReleasePolicies"]
        ),
        tenants=tuple(
            TenantGrant(str(item["namespace"]), str(item["name"]), DataGrantSpec.model_validate(item["spec"]))
            for item in value["dataGrants"]
        ),
        evidence={str(n): EvidencePolicySpec.model_validate(spec) for n, spec in value["evidencePolicies"].items()},
    )


def _parse_binding(value: Mapping[str, Any]) -> Binding:
    return Binding(
        purpose=str(value["purpose"]),
        nonce=bytes.fromhex(value["nonce"]),
        public_key=bytes.fromhex(value["publicKey"]),
        namespace=str(value["namespace"]),
        pod=str(value["pod"]),
        uid=str(value["uid"]),
        policy_digest=str(value["policyDigest"]),
        isolation_digest=str(value["isolationDigest"]),
        question_digest=str(value["questionDigest"]),
    )


def _parse_claims(value: Mapping[str, Any], *, depth: int) -> Claims:
    if depth > _MAX_DEPTH:
        raise ValueError("claims stand behind claims too deep")
    chip = value["chipId"]
    return Claims(
        tee=Tee(value["tee"]),
        debug=value["debug"] is not False,
        tcb_status=TcbStatus(value["tcbStatus"]),
        tcb=tuple(sorted((str(name), int(version)) for name, version in value["tcb"].items())),
        measurement=bytes.fromhex(value["measurement"]),
        registers=tuple(sorted((str(name), bytes.fromhex(held)) for name, held in value["registers"].items())),
        configuration=bytes.fromhex(value["configuration"]),
        bound_data=bytes.fromhex(value["boundData"]),
        chip_id=None if chip is None else bytes.fromhex(chip),
        evidence_digest=str(value["evidenceDigest"]),
        window=Window(_parse_time(value["notBefore"]), _parse_time(value["notAfter"])),
        advisories=tuple(map(str, value["advisories"])),
        facts=tuple(sorted((str(name), str(said)) for name, said in value["facts"].items())),
        parts=tuple(_parse_claims(part, depth=depth + 1) for part in value["parts"]),
    )


def _parse_time(text: Any) -> datetime:
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f'"{text}" has no time zone')
    return parsed


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, f"the facts of the release cannot be read: {what}")


def suppose_rules(facts: ReleaseFacts, rules: ReleaseRules) -> ReleaseFacts:
    """Return facts as they would be had other rules been in force when the challenge was made and answered."""
    workload, old = facts.workload, facts.binding
    digest = policy_digest(rules, namespace=workload.namespace, service=workload.service)
    new = replace(old, policy_digest=digest)
    forms = {old.digest(size): new.digest(size) for size in (32, 64)}
    forms |= {old.digest(32) + bytes(32): new.digest(32) + bytes(32)}
    forms |= {old.digest(32).hex().encode(): new.digest(32).hex().encode()}
    claims = tuple(replace(piece, bound_data=forms.get(piece.bound_data, piece.bound_data)) for piece in facts.claims)
    return replace(facts, rules=rules, binding=new, claims=claims)
