"""NetworkPolicies of others: policies add up, so one that selects our pods and allows anything undoes ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from sekisho.errors import Reason, Rejection
from sekisho.plan.world import Manifest


def find_foreign(policies: Sequence[Manifest], label_sets: Sequence[Mapping[str, str]]) -> Rejection | None:
    """Return why isolation cannot hold: the first policy, by name, that opens a way for pods with these labels.

    Policies that allow nothing are harmless: they deny what is denied already.
    """
    for policy in sorted(policies, key=lambda item: str(item["metadata"]["name"])):
        spec = policy.get("spec") or {}
        ways = _opened_ways(spec)
        if ways and any(selects(spec.get("podSelector") or {}, labels) for labels in label_sets):
            name = policy["metadata"]["name"]
            return Rejection(
                Reason.FOREIGN_NETWORK_POLICY,
                f"NetworkPolicy {name} selects the pods of this service and allows {' and '.join(ways)}; policies "
                "add up, so the service is stopped; change its podSelector or delete it",
            )
    return None


def _opened_ways(spec: Mapping[str, Any]) -> list[str]:
    """Name the directions in which a policy allows anything, as Kubernetes reads `policyTypes`."""
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return [kind.lower() for kind in ("Ingress", "Egress") if kind in types and spec.get(kind.lower())]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector matches; an empty one matches everything, an unknown operator too."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_matches(item, labels) for item in selector.get("matchExpressions") or ())


def _matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(str(expression.get("key"))), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return True
