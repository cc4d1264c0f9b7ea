"""The manifests of typical services, byte for byte."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from sekisho.placement.snapshot import take_snapshot
from sekisho.plan.inferenceservice import plan
from sekisho.render.settings import Canary
from tests.golden.expected import check
from tests.unit.plan.seals import sealed_model
from tests.unit.plan.worlds import SETTINGS, build_model, build_node, build_runtime, build_service, build_world
from tests.unit.render.blueprints import RELEASED

SCRAPER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
GPU_NODE = build_node("tk-gpu-1", "tokyo", gpus=4, gpu_memory_mib=81920, memory_mib=262144, cpu_millis=64000)
VLLM = build_runtime(
    formats=[{"name": "safetensors"}], accelerators=["nvidia"], port=8000, args=["--served-model-name={{model}}"],
    memory={"overhead": "8Gi", "shared": "8Gi"}, resources={"cpu": "4"}, env=[{"name": "HF_HUB_OFFLINE", "value": "1"}],
    probes={"startupSeconds": 1800},
)  # fmt: skip
SEALED_VLLM = VLLM.model_copy(update={"accelerators": (), "loader": "sealed"})

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "confidential": (
        {"classification": {"level": "confidential", "compartments": ["gdpr"]}, "predictor": {"minReplicas": 3}},
        {},
    ),
    "gpu-closed-registry": (
        {"predictor": {"resources": {"gpus": 2}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}},
        {
            "runtimes": {"vllm": VLLM},
            "model": build_model(format={"name": "safetensors"}, size="15Gi"),
            "snapshot": take_snapshot([GPU_NODE], []),
            "settings": replace(
                SETTINGS, registry="registry.closed.example:5000", image_pull_secrets=("pull",), scrapers=(SCRAPER,)
            ),
        },
    ),
    "sealed": ({}, {"model": sealed_model(), "settings": RELEASED}),
    "sealed-loader": (
        {},
        {
            "model": sealed_model(format={"name": "safetensors"}),
            "runtimes": {"vllm": SEALED_VLLM},
            "settings": RELEASED,
        },
    ),
    "claim-egress-without-fence": (
        {
            "classification": {"level": "public"},
            "egress": [{"cidr": "198.51.100.0/24", "ports": [443]}],
            "predictor": {"runtimeClassName": "kata"},
        },
        {
            "model": build_model(storageUri="pvc://models/smollm2"),
            "settings": replace(SETTINGS, fence=False, canaries=(Canary("outside", "203.0.113.10", 80, ("tcp",)),)),
        },
    ),
}


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@pytest.mark.parametrize("name", CASES)
def test_the_manifests_are_what_they_were(name: str) -> None:
    service, world = CASES[name]
    decided = plan(build_service(**service), build_world(**world))
    manifests = [*decided.isolation, *decided.workload]
    assert len(manifests) == 6, decided.status["conditions"]
    check(f"manifests/{name}.yaml", yaml.dump_all(manifests, Dumper=_Plain, sort_keys=False, width=120))
