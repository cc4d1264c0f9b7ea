"""Whether what an operator made is right: every child of every service, and what the statuses say."""

from typing import Any

from bench.harness import WrongAnswerError
from bench.operators.api import CHILDREN
from bench.operators.lab import Lab

Children = dict[str, frozenset[str]]


def check_children(lab: Lab, namespace: str, services: list[str]) -> Children:
    """Return the children's names by kind.

    Raises:
        WrongAnswerError: A service lacks one, or there is one too many.
    """
    wanted = sorted(f"{service}-predictor" for service in services)
    found = lab.list_children(namespace)
    for kind in CHILDREN:
        names = sorted(child["metadata"]["name"] for child in found[kind])
        if names != wanted:
            differing = sorted(set(names) ^ set(wanted))
            raise WrongAnswerError(f"{len(wanted)} {kind} wanted, {len(names)} there; they differ in {differing[:5]}")
    return {kind: frozenset(child["metadata"]["name"] for child in found[kind]) for kind in CHILDREN}


def check_statuses(lab: Lab, namespace: str, objects: int) -> None:
    """Raise where a service's status does not say, of its present generation, that it is accepted and placed."""
    services = lab.api.list_all("InferenceService", namespace=namespace)
    if len(services) != objects:
        raise WrongAnswerError(f"{objects} services wanted, {len(services)} there")
    for service in services:
        if missing := find_untold(service):
            raise WrongAnswerError(f"{service['metadata']['name']} does not say {', '.join(missing)}")


def find_untold(service: dict[str, Any]) -> list[str]:
    """Return which of Accepted and Placed the status does not say of the present generation."""
    generation = service["metadata"]["generation"]
    said = {
        item["type"]
        for item in (service.get("status") or {}).get("conditions") or ()
        if item["status"] == "True" and item.get("observedGeneration", generation) == generation
    }
    return [kind for kind in ("Accepted", "Placed") if kind not in said]
