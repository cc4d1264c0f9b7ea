"""The published status of a service beside its conditions."""

import re
from collections.abc import Mapping
from typing import Any

from sekisho.api.times import format_time
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceStatus
from sekisho.errors import Rejection
from sekisho.plan.classing import Classing
from sekisho.plan.conditions import MAX_MESSAGE, find_condition
from sekisho.plan.outcome import Outcome
from sekisho.plan.release import find_lease
from sekisho.plan.serving import count_ready
from sekisho.plan.users import grant_users
from sekisho.plan.weights import read_progress
from sekisho.render.podspec import digest_template
from sekisho.render.settings import SealedFacts

_AGE = re.compile(r"\d[\d,]* s\b")
_MAX_REJECTED = 64
_MAX_FLOORS = 8
_MAX_EARLIER = 3


def settle_placement(outcome: Outcome) -> tuple[dict[str, Any] | None, str]:
    """Return the published placement and the message of the condition Placed.

    Both tell the facts at the time of the decision. They stay as they are while the decision stays, so that an age that
    grows or memory that others free causes no write: for a placed service while site, reasons and generation stay; for
    one that is not placed while nothing but ages changed.
    """
    if isinstance(outcome.design, Rejection):
        return None, ""
    placement = outcome.design.placement
    rejected = [
        {"site": item.site, "reason": str(item.reason), "detail": item.detail[:MAX_MESSAGE]}
        for item in placement.rejected
    ]
    fresh: dict[str, Any] = {"because": placement.because[:MAX_MESSAGE], "rejected": rejected[:_MAX_REJECTED]}
    if placement.site is not None:
        fresh = {"site": placement.site, **fresh}
    old = outcome.obj.status.get("placement") or {}
    if old and _is_same_decision(outcome, old, fresh):
        fresh = {key: old[key] for key in ("site", "because", "rejected") if key in old}
    return fresh, str(fresh.get("because", ""))


def _is_same_decision(outcome: Outcome, old: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    if find_condition(outcome.obj.status, "Placed").get("observedGeneration") != outcome.obj.generation:
        return False
    if old.get("site") != fresh.get("site") or old.get("because") is None:
        return False
    if (outcome.obj.status.get("class") or {}).get("display") != str(outcome.classing and outcome.classing.data_class):
        return False
    if fresh.get("site") is None:
        return _mask(old) == _mask(fresh)
    return _reasons(old) == _reasons(fresh) and _stays(old) == _stays(fresh)


def _reasons(placement: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(item.get("site"), item.get("reason")) for item in placement.get("rejected") or ()]


def _stays(placement: Mapping[str, Any]) -> bool:
    return "in spite of" in str(placement.get("because"))


def _mask(placement: Mapping[str, Any]) -> list[Any]:
    texts = [str(placement.get("because")), *(str(item.get("detail")) for item in placement.get("rejected") or ())]
    return [*_reasons(placement), *(_AGE.sub("… s", text) for text in texts)]


def compose_status(
    outcome: Outcome, conditions: Mapping[str, Any], *, placement: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Put the whole status together; it goes through the model, so that nothing unbounded is published."""
    ready = count_ready(outcome)
    raw: dict[str, Any] = {
        **conditions,
        "replicas": {"desired": outcome.replicas, "ready": ready, "summary": f"{ready}/{outcome.replicas}"},
    }
    if outcome.classing is not None:
        raw["class"] = _compose_class(outcome.classing)
    if placement is not None:
        raw["placement"] = placement
    raw.update(_compose_design(outcome))
    return InferenceServiceStatus.model_validate(raw).model_dump(by_alias=True, exclude_none=True, mode="json")


def _compose_class(classing: Classing) -> dict[str, Any]:
    data_class = classing.data_class
    sources = [
        {"source": item.source, "level": item.value.level, "compartments": sorted(item.value.compartments)}
        for item in classing.floors[:_MAX_FLOORS]
    ]
    return {
        "level": data_class.level,
        "compartments": sorted(data_class.compartments),
        "display": str(data_class),
        "from": sources,
    }


def _compose_design(outcome: Outcome) -> dict[str, Any]:
    design, obj = outcome.design, outcome.obj
    if isinstance(design, Rejection):
        return {}
    weights = {
        "source": design.weights.storage.uri,
        "digest": design.weights.digest,
        "progress": read_progress(outcome),
        **_spell_seal(design.weights.sealed),
        **_spell_lease(outcome),
    }
    return {
        "address": {"url": outcome.world.settings.gateway_url, "model": f"{obj.namespace}/{obj.name}"},
        "runtime": design.runtime_name,
        "modelName": design.weights.model_name or obj.name,
        "weights": {key: value for key, value in weights.items() if value is not None},
        "users": grant_users(outcome),
        **_compose_template(outcome, design.weights.sealed),
    }


def _compose_template(outcome: Outcome, sealed: SealedFacts | None) -> dict[str, Any]:
    """Tell what pods of the service run, where keys are released to them by it; what is not rendered now stays told."""
    old = outcome.obj.status.get("template") or {}
    if outcome.deployment is None:
        # Whatever is known of the weights meanwhile: the pods that run keep the keys that they were given by it.
        return {"template": old} if old and (outcome.waits_for_depot or outcome.waits_for_release) else {}
    if sealed is None:
        return {}
    digest = digest_template(outcome.deployment["spec"]["template"])
    before = [item for item in (old.get("digest"), *(old.get("earlier") or ())) if item and item != digest]
    return {"template": {"digest": digest, "earlier": list(dict.fromkeys(before))[:_MAX_EARLIER]}}


def _spell_lease(outcome: Outcome) -> dict[str, Any]:
    lease = find_lease(outcome)
    if lease is None:
        return {}
    ends_at = format_time(lease.ends_at)
    return {"leaseEndsAt": ends_at, "policyDigest": lease.policy_digest, "evidenceDigest": lease.evidence_digest}


def _spell_seal(sealed: SealedFacts | None) -> dict[str, Any]:
    if sealed is None:
        return {}
    key = f"{sealed.kms}:{sealed.key_id} version {sealed.key_version}"
    return {"version": sealed.version, "key": key[:MAX_MESSAGE]}
