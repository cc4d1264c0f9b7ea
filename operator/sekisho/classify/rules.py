"""What a class may do: the strictest of the rules of its level, of every lower level, and of its compartments.

Lower levels count so that raising a class never widens what its data may do, whatever a policy's author left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from sekisho.api.v1alpha1.classificationpolicy import (
    AnswersRule,
    ClassificationPolicySpec,
    Rules,
    TrustRule,
    WeightsRule,
)
from sekisho.classify import jurisdiction
from sekisho.classify.lattice import DataClass
from sekisho.errors import Reason, RefusedError

# Strictest first: the strictest of two values is the one that stands earlier.
_BURST = ("Never", "AfterRedaction", "Allowed")
_EGRESS = ("Denied", "Declared")
_TENANCY = ("Dedicated", "SharedByOwner", "Shared")
_OPAQUE = ("Refused", "Allowed")
_LOG = ("Digest", "Metadata")
_ATTACKS = ("Refuse", "Record", "Off")
_EXAMINE = ("Held", "Windowed", "Off")
_FOUND = ("End", "Mask")


@dataclass(frozen=True, slots=True)
class EffectiveTrust:
    """Hardware trust that a node must have proven.

    Attributes:
        any_of: At least one of these; an empty set can be satisfied by nothing.
        devices: All of these in addition.
        max_age_seconds: Oldest proof that counts.
    """

    any_of: frozenset[str] | None
    devices: frozenset[str]
    max_age_seconds: int


@dataclass(frozen=True, slots=True)
class EffectiveWeights:
    """What weights must be."""

    sealed: bool = False
    signed_by: frozenset[str] = frozenset()
    scan: str | None = None
    evaluated: frozenset[str] = frozenset()
    approved_by: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is demanded."""
        return self == EffectiveWeights()


@dataclass(frozen=True, slots=True)
class EffectiveAnswers:
    """What is looked for in answers: every category that any rule names, the strictest way."""

    examine: str = "Off"
    detect: frozenset[str] = frozenset()
    found: str = "Mask"


@dataclass(frozen=True, slots=True)
class EffectiveRules:
    """What a class may do, every field decided.

    Attributes:
        tiers: Tiers of sites that are allowed; an empty set allows none.
        jurisdictions: None means any; an empty set allows none.
        trust: None asks for no proof.
    """

    tiers: frozenset[str]
    jurisdictions: frozenset[str] | None
    trust: EffectiveTrust | None
    weights: EffectiveWeights
    egress: str
    burst: str
    redact: frozenset[str]
    tenancy: str
    images_by_digest: bool
    opaque: str
    log: str
    prompt_attacks: str
    answers: EffectiveAnswers


def rules_of(policy: ClassificationPolicySpec, data_class: DataClass) -> EffectiveRules:
    """Return the strictest of what the level, the levels below it, and the compartments say.

    Raises:
        RefusedError: The policy does not know the level or a compartment of the class.
    """
    names = [level.name for level in policy.levels]
    if data_class.level not in names:
        known = ", ".join(names)
        raise RefusedError(Reason.UNKNOWN_LEVEL, f'the policy has no level "{data_class.level}"; it knows {known}')
    compartments = {item.name: item.rules for item in policy.compartments}
    if missing := sorted(data_class.compartments.difference(compartments)):
        known = ", ".join(sorted(compartments)) or "none"
        raise RefusedError(
            Reason.UNKNOWN_COMPARTMENT, f'the policy has no compartment "{missing[0]}"; it knows {known}'
        )
    levels = policy.levels[: names.index(data_class.level) + 1]
    return _join(
        [*(_complete(level.rules) for level in levels), *(compartments[name] for name in data_class.compartments)]
    )


def _complete(level: Rules) -> Rules:
    """Give the fields that a level left out their defaults, the safest value wherever one exists."""
    return level.model_copy(
        update={
            "tiers": ("Closed",) if level.tiers is None else level.tiers,
            "egress": level.egress or "Denied",
            "burst": level.burst or "Never",
            "tenancy": level.tenancy or "Shared",
            "opaque": level.opaque or "Refused",
            "log": level.log or "Digest",
            "prompt_attacks": level.prompt_attacks or "Record",
        }
    )


def _join(rules: Sequence[Rules]) -> EffectiveRules:
    """Join rules of which at least the first is complete."""
    return EffectiveRules(
        tiers=_intersect_or_any([r.tiers for r in rules]) or frozenset(),
        jurisdictions=_meet_or_any([r.jurisdictions for r in rules]),
        trust=_join_trust([r.trust for r in rules if r.trust is not None]),
        weights=_join_weights([r.weights for r in rules if r.weights is not None]),
        egress=_strictest(_EGRESS, [r.egress for r in rules]),
        burst=_strictest(_BURST, [r.burst for r in rules]),
        redact=frozenset(item for r in rules for item in r.redact or ()),
        tenancy=_strictest(_TENANCY, [r.tenancy for r in rules]),
        images_by_digest=any(r.images_by_digest for r in rules),
        opaque=_strictest(_OPAQUE, [r.opaque for r in rules]),
        log=_strictest(_LOG, [r.log for r in rules]),
        prompt_attacks=_strictest(_ATTACKS, [r.prompt_attacks for r in rules]),
        answers=_join_answers([r.answers for r in rules if r.answers is not None and r.answers.examine != "Off"]),
    )


def _intersect_or_any(sets: Iterable[Iterable[str] | None]) -> frozenset[str] | None:
    named = [item for item in sets if item is not None]
    return frozenset(named[0]).intersection(*named[1:]) if named else None


def _meet_or_any(sets: Iterable[Iterable[str] | None]) -> frozenset[str] | None:
    named = [frozenset(item) for item in sets if item is not None]
    return reduce(jurisdiction.meet, named) if named else None


def _strictest(order: Sequence[str], values: Iterable[str | None]) -> str:
    return order[min(order.index(value) for value in values if value is not None)]


def _join_trust(rules: Sequence[TrustRule]) -> EffectiveTrust | None:
    if not any(rule.any_of or rule.devices for rule in rules):
        return None
    return EffectiveTrust(
        any_of=_intersect_or_any([rule.any_of or None for rule in rules]),
        devices=frozenset(device for rule in rules for device in rule.devices),
        max_age_seconds=min(rule.max_age_seconds for rule in rules),
    )


def _join_weights(rules: Sequence[WeightsRule]) -> EffectiveWeights:
    joined = EffectiveWeights()
    for rule in rules:
        joined = replace(
            joined,
            sealed=joined.sealed or rule.sealed,
            signed_by=joined.signed_by | frozenset(rule.signed_by),
            scan=joined.scan or rule.scan,
            evaluated=joined.evaluated | frozenset(rule.evaluated),
            approved_by=joined.approved_by | frozenset(rule.approved_by),
        )
    return joined


def _join_answers(rules: Sequence[AnswersRule]) -> EffectiveAnswers:
    if not rules:
        return EffectiveAnswers()
    return EffectiveAnswers(
        examine=_strictest(_EXAMINE, [rule.examine for rule in rules]),
        detect=frozenset(word for rule in rules for word in rule.detect),
        found=_strictest(_FOUND, [rule.found for rule in rules]),
    )
