"""Manifests of small services and models, for tests that need many."""

from typing import Any

import yaml

API = "inference.sekisho.dev/v1alpha1"
SMALL: dict[str, Any] = {"cpu": "20m", "memory": "256Mi"}


def small_service(name: str, namespace: str, model: dict[str, Any], *, labels: dict[str, str] | None = None,
                  spec: dict[str, Any] | None = None, **predictor: Any) -> str:  # fmt: skip
    """Return an InferenceService that takes little of a node.

    Args:
        model: The predictor's model; a storageUri without a format gets format gguf.
        spec: Merged into the spec; `predictor` into the predictor.
    """
    if "storageUri" in model:
        model = {"modelFormat": {"name": "gguf"}, **model}
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    whole = {"predictor": {"model": model, "resources": SMALL, **predictor}, **(spec or {})}
    return yaml.safe_dump({"apiVersion": API, "kind": "InferenceService", "metadata": metadata, "spec": whole})


def model_object(name: str, namespace: str, storage_uri: str, **spec: Any) -> str:
    """Return a Model."""
    metadata = {"name": name, "namespace": namespace}
    whole = {"owner": "tests@example.test", "format": {"name": "gguf"}, "storageUri": storage_uri, **spec}
    return yaml.safe_dump({"apiVersion": API, "kind": "Model", "metadata": metadata, "spec": whole})


def runtime_object(name: str, image: str, *args: str, **spec: Any) -> str:
    """Return a Runtime that serves gguf to those who name it."""
    whole = {"formats": [{"name": "gguf"}], "image": image, "args": list(args), "autoSelect": False, **spec}
    return yaml.safe_dump({"apiVersion": API, "kind": "Runtime", "metadata": {"name": name}, "spec": whole})


def namespace_object(name: str, data_class: str) -> str:
    """Return a Namespace that has its class from the beginning: nobody sees it without."""
    metadata = {"name": name, "labels": {"sekisho.dev/classification": data_class}}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
