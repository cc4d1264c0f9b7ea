"""The reference: a kopf handler that creates the same six children and does nothing else.

It asks no questions: no placement, no comparison, no status, no repair. kopf is as it comes: it writes its annotation
to each object and logs a few lines. The handler is as lean as one can be written: it renders from text,
and lets the client skip the parsing of answers.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kopf
from kubernetes.aio import client, config

from bench.operators.manifests import fill_template

GROUP, VERSION, PLURAL = "inference.sekisho.dev", "v1alpha1", "inferenceservices"
CREATED = 201


class Children:
    """Creates the children of a service, in their order, over one client."""

    def __init__(self, templates: list[str], api: client.ApiClient) -> None:
        self._templates = templates
        core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
        networking, policy = client.NetworkingV1Api(api), client.PolicyV1Api(api)
        self._create = {
            "NetworkPolicy": networking.create_namespaced_network_policy_without_preload_content,
            "ServiceAccount": core.create_namespaced_service_account_without_preload_content,
            "ConfigMap": core.create_namespaced_config_map_without_preload_content,
            "Service": core.create_namespaced_service_without_preload_content,
            "PodDisruptionBudget": policy.create_namespaced_pod_disruption_budget_without_preload_content,
            "Deployment": apps.create_namespaced_deployment_without_preload_content,
        }

    async def create(self, *, name: str, namespace: str, uid: str) -> None:
        """Create all six; raises where one could not be created, so that kopf tries again."""
        for text in self._templates:
            child = fill_template(text, name=name, namespace=namespace, uid=uid)
            answer = await self._create[child["kind"]](namespace, child)
            body = await answer.read()
            if answer.status != CREATED:
                raise kopf.TemporaryError(f"{child['kind']} {name}: {answer.status} {body[:300]!r}", delay=1)


def build_registry(templates: list[str], clients: list[client.ApiClient]) -> kopf.OperatorRegistry:
    """Return the one handler."""
    registry = kopf.OperatorRegistry()
    made: list[Children] = []

    async def prepare(**_: Any) -> None:
        await config.load_kube_config()
        clients.append(client.ApiClient())
        made.append(Children(templates, clients[0]))

    async def create(name: str, namespace: str, uid: str, **_: Any) -> None:
        await made[0].create(name=name, namespace=namespace, uid=uid)

    kopf.on.startup(registry=registry)(prepare)
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    kopf.on.create(GROUP, VERSION, PLURAL, registry=registry)(create)
    return registry


async def run(templates: list[str]) -> None:
    """Work until a signal comes."""
    clients: list[client.ApiClient] = []
    try:
        await kopf.operator(registry=build_registry(templates, clients), clusterwide=True, standalone=True)
    finally:
        for each in clients:
            await each.close()


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Read the children's templates from the file that is named, and run."""
    if not arguments or "KUBECONFIG" not in environ:
        print("usage: KUBECONFIG=… python -m bench.bare_kopf TEMPLATES.json", file=sys.stderr)
        return 64
    logging.basicConfig(level=logging.INFO)
    asyncio.run(run(json.loads(Path(arguments[0]).read_text("utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
