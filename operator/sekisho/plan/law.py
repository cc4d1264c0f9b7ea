"""What the class demands of the pod itself: weights, images, ways out. Placement answers for the place."""

import ipaddress
from collections.abc import Sequence

from sekisho.api.v1alpha1.inferenceservice import EgressRule
from sekisho.classify.lattice import DataClass
from sekisho.classify.rules import EffectiveRules
from sekisho.errors import Reason, RefusedError
from sekisho.plan.demands import find_refusal, list_demands
from sekisho.plan.sealing import Seen
from sekisho.render.images import has_digest
from sekisho.render.settings import Canary

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_weights(rules: EffectiveRules, data_class: DataClass, seen: Seen | None) -> None:
    """Refuse weights that do not show what the class demands, and sealed ones that the depot refused.

    Args:
        rules: Of the class.
        data_class: For the message.
        seen: What is known of the Model's weights; None where the service names the place itself.

    Raises:
        RefusedError: The first demand that does not hold, naming the rule, the fact and the next step.
    """
    who = f"class {data_class}"
    if seen is not None:
        refusal = find_refusal(rules.weights, seen, who=who)
        if refusal is not None:
            raise RefusedError.of(refusal)
    elif demanded := list_demands(rules.weights):
        raise RefusedError(
            Reason.SEALED_WEIGHTS_REQUIRED,
            f"{who} demands {'; '.join(demanded.values())}; a storageUri in the service can show none of it; create a "
            "Model for the sealed and signed weights, and name it in modelRef",
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
            f"the service declares egress to {egress[0].cidr}; class {data_class} says egress {rules.egress}; "
            "take spec.egress out, or ask who answers for the policy",
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
