"""All manifests of one service, in the order in which they are applied."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sekisho.render.access import render_config, render_service_account
from sekisho.render.blueprint import Blueprint
from sekisho.render.images import override_registry
from sekisho.render.network import render_network_policy
from sekisho.render.service import render_disruption_budget, render_service
from sekisho.render.workload import choose_agent_image, render_deployment, render_template

ISOLATION_KINDS: Final = ("NetworkPolicy",)
WORKLOAD_KINDS: Final = ("ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "Deployment")


def render_isolation(blueprint: Blueprint) -> tuple[dict[str, Any], ...]:
    """Render what must be there, and seen there, before any pod is."""
    return (render_network_policy(blueprint),)


def render_workload(blueprint: Blueprint, *, live: Mapping[str, Any] | None) -> tuple[dict[str, Any], ...]:
    """Render the rest; `live` is the Deployment as the server shows it."""
    wanted = override_registry(blueprint.agent_image, blueprint.settings.registry)
    fresh = replace(blueprint, agent_image=wanted)
    template = render_template(fresh)
    image = choose_agent_image(template, live, wanted=wanted, by_digest=blueprint.by_digest)
    chosen = fresh
    if image != wanted:
        chosen = replace(fresh, agent_image=image)
        template = render_template(chosen)
    return (
        render_service_account(chosen),
        render_config(chosen),
        render_service(chosen),
        render_disruption_budget(chosen),
        render_deployment(chosen, template=template),
    )
