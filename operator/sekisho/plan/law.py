"""What the class demands of the pod itself: weights, images, ways out. Placement answers for the place."""

import ipaddress
from collections.abc import Sequence

from sekisho.api.v1alpha1.inferenceservice import EgressRule
from sekisho.classify.lattice import DataClass
from sekisho.classify.rules import EffectiveRules
from sekisho.errors import Reason, RefusedError
from sekisho.render.images import has_digest
from sekisho.render.settings import Canary

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_weights(rules: EffectiveRules, data_class: DataClass, *, what: str) -> None:
    """Refuse weights that cannot show what the class demands; nothing can yet, so any demand refuses.

    Raises:
        RefusedError: SealedWeightsRequired, naming the rule and the fact.
    """
    weights = rules.weights
    wanted = {
        "weights.sealed: true": weights.sealed,
        f"weights.signedBy: {', '.join(sorted(weights.signed_by))}": bool(weights.signed_by),
        f"weights.scan: {weights.scan}": weights.scan is not None,
        f"weights.evaluated: {', '.join(sorted(weights.evaluated))}": bool(weights.evaluated),
        f"weights.approvedBy: {', '.join(sorted(weights.approved_by))}": bool(weights.approved_by),
    }
    demanded = [rule for rule, holds in wanted.items() if holds]
    if demanded:
        raise RefusedError(
            Reason.SEALED_WEIGHTS_REQUIRED,
            f"class {data_class} demands {'; '.join(demanded)}; {what} shows none of it, because sealed weights are "
            "not supported yet; serve the model in a class without this rule",
        )


def check_images(rules: EffectiveRules, data_class: DataClass, images: Sequence[tuple[str, str]]) -> None:
    """Refuse images without a digest where the class demands one; `images` are pairs of owner and reference.

    Raises:
        RefusedError: ImageNotByDigest, naming the image.
    """
    if not rules.images_by_digest:
        return
    for owner, image in images:
        if not has_digest(image):
            raise RefusedError(
                Reason.IMAGE_NOT_BY_DIGEST,
                f'class {data_class} demands images by digest; {owner} has "{image}"; write it as repository@sha256:…',
            )


def check_egress(
    rules: EffectiveRules, data_class: DataClass, egress: Sequence[EgressRule], *, canaries: Sequence[Canary]
) -> None:
    """Refuse declared ways out that the class does not allow, or that would open what must be shown to be closed.

    Raises:
        RefusedError: EgressNotAllowed, naming the range.
    """
    if egress and rules.egress != "Declared":
        raise RefusedError(
            Reason.EGRESS_NOT_ALLOWED,
            f"the service declares egress to {egress[0].cidr}; class {data_class} says egress {rules.egress}",
        )
    for rule in egress:
        network = ipaddress.ip_network(rule.cidr)
        for canary in canaries:
            if _is_opened(canary, rule, network):
                raise RefusedError(
                    Reason.EGRESS_NOT_ALLOWED,
                    f"egress to {rule.cidr} port {canary.port} would open canary {canary.name} ({canary.host}), which "
                    "must stay out of reach to prove isolation; declare a narrower range",
                )


def _is_opened(canary: Canary, rule: EgressRule, network: Network) -> bool:
    return "tcp" in canary.protocols and canary.port in rule.ports and _is_inside(canary.host, network)


def _is_inside(host: str, network: Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:  # "$HOST_IP" is known on the node only
        return False
