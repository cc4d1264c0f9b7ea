"""What the demo and the tests begin with: sekisho, a policy, two sites, an engine, and a model in a registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import yaml

from e2e.artifact import push_folder
from e2e.cluster.kind_registry import KindRegistry
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Cluster
from e2e.cluster.registry import Registry
from e2e.installation import ROOT, Installation, load_images, make_model, render_example

EXAMPLES = ROOT / "examples" / "quickstart"
RUNTIME = ROOT / "inference-images" / "llamacpp" / "runtime.yaml"


@dataclass(slots=True)
class Quickstart:
    """An installation with everything a service needs.

    Attributes:
        facts: Values of the ${NAMES} in the examples; known after `publish`.
    """

    installation: Installation
    registry: Registry | KindRegistry
    facts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def on(cls, cluster: Cluster, registry: Registry | KindRegistry) -> Self:
        """Describe an installation whose depot may read `registry` and whose pods try the outside as a canary."""
        return cls(Installation(cluster, values=chart_values(cluster, registry)), registry)

    def prepare(self, *, model: str, report: Report = silent) -> None:
        """Install sekisho, publish the model and the engine, and apply policy, sites and runtime."""
        self.installation.install(report=report)
        self.publish(model, report=report)
        for name, text in self.manifests("[12]0-*.yaml"):
            self.installation.apply(text)
            report(f"applied {name}")
        self.installation.apply(self.runtime())

    def publish(self, model: str, *, report: Report = silent) -> None:
        """Push the model into the registry and the engine's image onto every node."""
        digest = push_folder(self.registry.url, f"models/{model}", make_model(model))
        report(f"model {model} is in the registry as {digest[:19]}…")
        engine = load_images(self.installation.cluster, ["llamacpp"], report=report)["llamacpp"]
        self.facts = {"MODEL_URI": f"oci://{self.registry.host}/models/{model}@{digest}", "ENGINE": engine.reference}

    def manifests(self, pattern: str) -> list[tuple[str, str]]:
        """Return (path, text) of the examples that match, in their order, with names filled."""
        paths = sorted(EXAMPLES.glob(pattern))
        return [(str(path.relative_to(ROOT)), render_example(path, self.facts)) for path in paths]

    def runtime(self) -> str:
        """Return the engine's profile with the image that was built."""
        profile = yaml.safe_load(RUNTIME.read_text())
        profile["spec"]["image"] = self.facts["ENGINE"]
        text: str = yaml.safe_dump(profile)
        return text

    def serve(self, name: str, *, namespace: str, spec: Mapping[str, Any] | None = None) -> None:
        """Apply an InferenceService on the published model; `spec` is merged over the default spec."""
        predictor = {"model": {"modelFormat": {"name": "gguf"}, "storageUri": self.facts["MODEL_URI"]}}
        merged = {"predictor": predictor, **(spec or {})}
        self.installation.apply(
            yaml.safe_dump(
                {
                    "apiVersion": "inference.sekisho.dev/v1alpha1",
                    "kind": "InferenceService",
                    "metadata": {"name": name, "namespace": namespace},
                    "spec": merged,
                }
            )
        )


def chart_values(cluster: Cluster, registry: Registry | KindRegistry) -> dict[str, Any]:
    """Return the chart's values: the depot may read the registry, and the outside is a canary."""
    outside = {
        "name": "outside",
        "host": cluster.internet.address,
        "port": 80,
        "protocols": ["tcp", "udp", "icmp"],
    }
    return {
        "depot": {"sources": [{"prefix": f"oci://{registry.host}/", "plainHttp": True}], "cache": {"size": "2Gi"}},
        "isolation": {"canaries": [outside]},
    }
