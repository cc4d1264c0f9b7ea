"""Worlds to plan in: a policy, two sites, a runtime, a model and nodes; each test changes the one fact it speaks of."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sekisho.api import names
from sekisho.api.times import format_time
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec
from sekisho.api.v1alpha1.model import ModelSpec
from sekisho.api.v1alpha1.runtime import RuntimeSpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.errors import Reason, Rejection
from sekisho.placement.snapshot import NodeFacts, take_snapshot
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import ModelObject, Plan, Published, ServiceObject, World
from sekisho.render.settings import Canary, RenderSettings
from tests.unit.classify.policies import build_signers

NOW = 1_800_000_000.0
DIGEST = "sha256:" + "ab" * 32
SITE_KEY = "sekisho.node-restriction.kubernetes.io/site"

POLICY = {
    "unlabelled": "internal",
    "levels": [
        {"name": "public", "rules": {"tiers": ["Closed", "OwnCloud"], "egress": "Declared"}},
        {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"]}},
        {
            "name": "confidential",
            "rules": {
                "tiers": ["Closed"],
                "trust": {"anyOf": ["snp", "tdx"], "maxAgeSeconds": 3600},
                "tenancy": "SharedByOwner",
                "imagesByDigest": True,
            },
        },
        {"name": "restricted", "rules": {"tiers": ["Closed"], "weights": {"sealed": True}, "tenancy": "Dedicated"}},
    ],
    "compartments": [{"name": "gdpr", "rules": {"jurisdictions": ["EU", "JP"]}}],
    "signers": build_signers("release", "board"),
}
SETTINGS = RenderSettings(
    system_namespace="sekisho-system",
    agent_image=f"sekisho.local/agent@{DIGEST}",
    gateway_url="https://sekisho-gateway.sekisho-system.svc/v1",
    depot_host="10.96.0.40",
    ca_pem="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    canaries=(
        Canary("api-server", "10.96.0.1", 443, ("tcp", "icmp")),
        Canary("node", "$HOST_IP", 10250, ("tcp", "icmp")),
        Canary("outside", "203.0.113.10", 80, ("tcp", "udp", "icmp")),
    ),
)


def build_policy(**levels: Mapping[str, Any]) -> ClassificationPolicySpec:
    """Return the policy, with rules of some levels replaced."""
    changed = [{**item, "rules": levels.get(item["name"], item["rules"])} for item in POLICY["levels"]]
    return ClassificationPolicySpec.model_validate({**POLICY, "levels": changed})


def build_runtime(**changes: Any) -> RuntimeSpec:
    spec = {
        "formats": [{"name": "gguf"}],
        "image": f"sekisho.local/llamacpp@{DIGEST}",
        "args": ["--model={{path}}", "--alias={{model}}", "--port={{port}}"],
        "memory": {"overhead": "512Mi"},
    }
    return RuntimeSpec.model_validate({**spec, **changes})


def build_model(*, labels: Mapping[str, str] | None = None, **changes: Any) -> ModelObject:
    spec = {"owner": "ai@example.test", "format": {"name": "gguf"}, "size": "110M",
            "storageUri": "oci://registry.example:5000/models/smollm2:1"}  # fmt: skip
    parsed = ModelSpec.model_validate({**spec, **changes})
    # The depot has looked and found plain weights; what they are does not depend on whose signatures count.
    found = {"uri": parsed.storage_uri, "policyDigest": DIGEST, "inspectedAt": "2026-11-25T06:00:00Z"}
    return ModelObject("legal", "smollm2", 1, labels or {}, parsed, {"inspection": found})


def build_service(
    *, status: Mapping[str, Any] | None = None, labels: Mapping[str, str] | None = None, generation: int = 1,
    predictor: Mapping[str, Any] | None = None, **spec: Any,
) -> ServiceObject:  # fmt: skip
    body = {"predictor": {"model": {"modelRef": {"name": "smollm2"}}, **(predictor or {})}, **spec}
    parsed = InferenceServiceSpec.model_validate(body)
    return ServiceObject("legal", "review", "uid-1", generation, labels or {}, parsed, status or {})


def build_node(name: str, site: str, **changes: Any) -> NodeFacts:
    labels = {SITE_KEY: site, names.trust_label("snp"): str(int(NOW) - 200), "kubernetes.io/hostname": name}
    facts = NodeFacts(name, labels, (), True, True, 8000, 16384, 0, 0, 100)
    return replace(facts, **changes)


def build_site(tier: str, selector: str, jurisdiction: str = "JP") -> SiteSpec:
    return SiteSpec.model_validate(
        {
            "tier": tier,
            "jurisdiction": jurisdiction,
            "operatedBy": "own",
            "nodes": {"matchLabels": {SITE_KEY: selector}},
        }
    )


def build_world(**changes: Any) -> World:
    nodes = [build_node("tk-1", "tokyo"), build_node("tk-2", "tokyo"), build_node("os-1", "osaka")]
    world = World(
        policy=build_policy(),
        namespace_labels={"kubernetes.io/metadata.name": "legal"},
        model=build_model(),
        runtimes={"llamacpp": build_runtime()},
        sites={"tokyo-closed": build_site("Closed", "tokyo"), "osaka-cloud": build_site("OwnCloud", "osaka")},
        snapshot=take_snapshot(nodes, []),
        children={},
        network_policies=(),
        pods=(),
        settings=SETTINGS,
        now_at=NOW,
    )
    return replace(world, **changes)


def build_pod(name: str = "review-predictor-1", **changes: Any) -> dict[str, Any]:
    """Return a pod that runs, is isolated, has its weights and is ready, at tokyo-closed; `changes` go below status."""
    labels = {names.SERVICE_LABEL: "review", names.SITE_LABEL: changes.pop("site", "tokyo-closed")}
    conditions = {
        "PodScheduled": {"status": "True"},
        "Ready": {"status": "True"},
        names.ISOLATED_POD_CONDITION: {
            "status": "True", "reason": "IsolationProven", "message": "7 attempts stayed without an answer",
            "lastProbeTime": format_time(NOW - 30),
        },
        names.WEIGHTS_POD_CONDITION: {"status": "True", "reason": "WeightsAvailable", "message": "1 file, 110 MB"},
        **changes.pop("conditions", {}),
    }  # fmt: skip
    return {
        "metadata": {"name": name, "namespace": "legal", "labels": labels, **changes.pop("metadata", {})},
        "spec": {"nodeName": changes.pop("node", "tk-1")},
        "status": {
            "phase": "Running",
            "conditions": [{"type": kind, **value} for kind, value in conditions.items() if value],
            **changes,
        },
    }


def starting_pod(name: str = "review-predictor-1", **changes: Any) -> dict[str, Any]:
    """Return a pod of which nothing is known yet but that it was scheduled."""
    conditions = {"Ready": {"status": "False"}, names.ISOLATED_POD_CONDITION: {}, names.WEIGHTS_POD_CONDITION: {},
                  **changes.pop("conditions", {})}  # fmt: skip
    return build_pod(name, conditions=conditions, **{"phase": "Pending", **changes})


def observe(decided: Plan, *, ready: int | None = None) -> dict[str, Any]:
    """Return the children of a plan as the server shows them once they are applied."""
    children = {item["kind"]: item for item in (*decided.isolation, *decided.workload)}
    if "Deployment" in children:
        wanted = children["Deployment"]["spec"]["replicas"]
        count = wanted if ready is None else ready
        status = {"observedGeneration": 1, "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": count}
        metadata = {**children["Deployment"]["metadata"], "generation": 1}
        children["Deployment"] = {**children["Deployment"], "metadata": metadata, "status": status}
    return children


def settle(
    obj: ServiceObject, world: World, *, pods: tuple[Mapping[str, Any], ...] | None = None
) -> tuple[ServiceObject, World]:
    """Apply a plan: children are there, pods run, the status is published; returns the next object and world."""
    first = plan(obj, world)
    if pods is None:
        count = first.workload[-1]["spec"]["replicas"] if first.workload else 0
        site = first.status["placement"]["site"] if count else ""
        node = "tk-1" if site == "tokyo-closed" else "os-1"
        pods = tuple(build_pod(f"review-predictor-{i}", site=site, node=node) for i in range(count))
    ready = sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"]) for pod in pods
    )
    seen = replace(world, children=observe(first, ready=ready), pods=pods)
    return replace(obj, status=plan(replace(obj, status=first.status), seen).status), seen


def condition(decided: Plan | Published, kind: str) -> dict[str, Any]:
    return next(item for item in decided.status["conditions"] if item["type"] == kind)


def kinds(decided: Plan) -> list[str]:
    return [item["type"] for item in decided.status["conditions"]]


def refused(reason: str, detail: str) -> Rejection:
    return Rejection(Reason(reason), detail)
