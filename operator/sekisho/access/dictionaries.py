"""A namespace's own words and patterns, as its AccessPolicies carry them; nothing is compiled here. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from sekisho.api.v1alpha1.accesspolicy import TenantDictionary
from sekisho.errors import Reason, UnavailableError

MOST: Final = 4


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What one AccessPolicy wants found.

    Attributes:
        policy: namespace/name of the policy.
        words: Taken literally.
        patterns: In RE2's syntax; whether they compile is not known here.
        broken: It is there and cannot be read.
    """

    policy: str
    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    broken: bool = False


def read_dictionary(policy: str, spec: Mapping[str, Any]) -> Dictionary | None:
    """Read the dictionary of a policy's spec, which may be invalid elsewhere; None where it has none."""
    raw = spec.get("dictionary")
    if raw is None:
        return None
    try:
        return keep_dictionary(policy, TenantDictionary.model_validate(raw))
    except ValidationError:
        return Dictionary(policy, broken=True)


def keep_dictionary(policy: str, given: TenantDictionary | None) -> Dictionary | None:
    """Return a dictionary under the name of its policy; None where it holds nothing."""
    if given is None or not (given.words or given.patterns):
        return None
    return Dictionary(policy, given.words, given.patterns)


def check_dictionaries(dictionaries: tuple[Dictionary, ...], model: str) -> None:
    """Refuse to answer for a model whose dictionaries are too many, or cannot be read.

    Raises:
        UnavailableError: PolicyInvalid.
    """
    for item in dictionaries:
        if item.broken:
            raise UnavailableError(
                Reason.POLICY_INVALID,
                f"the dictionary of AccessPolicy {item.policy} cannot be read, so {model} answers nobody; its status "
                "says why",
            )
    if len(dictionaries) > MOST:
        raise UnavailableError(
            Reason.POLICY_INVALID,
            f"{len(dictionaries)} AccessPolicies with a dictionary name {model}, {MOST} may; put their words together",
        )
