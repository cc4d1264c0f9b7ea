"""What an upgrade does to pods, by the real controllers; no node runs them, so none ever becomes ready."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from charts.sekisho.tests.test_chart import render
from e2e.cluster.local import LocalCluster
from e2e.cluster.patience import PATIENCE_SECONDS
from e2e.cluster.processes import poll
from e2e.cluster.provider import Options

NAMESPACE = "sekisho-system"

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def control_plane() -> Iterator[LocalCluster]:
    with LocalCluster(Options(name=f"it-chart-{os.getpid()}", control_plane_only=True)) as cluster:
        cluster.kubectl("create", "namespace", NAMESPACE)
        yield cluster


def install(cluster: LocalCluster, *, version: str) -> list[str]:
    """Apply the stateful processes of the chart and return their names."""
    helm = str(cluster.binaries / "helm")
    wanted = [d for d in render(helm, {}) if d["kind"] in {"ServiceAccount", "StatefulSet"}]
    stateful = [d for d in wanted if d["kind"] == "StatefulSet"]
    for document in stateful:
        document["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/depot:{version}"
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted}))
    return [d["metadata"]["name"] for d in stateful]


def images(cluster: LocalCluster) -> dict[str, str]:
    items: list[dict[str, Any]] = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    alive = [item for item in items if "deletionTimestamp" not in item["metadata"]]
    return {item["metadata"]["name"]: item["spec"]["containers"][0]["image"] for item in alive}


def test_an_upgrade_replaces_stateful_pods_that_never_became_ready(control_plane: LocalCluster) -> None:
    pods = {f"{name}-0" for name in install(control_plane, version="broken")}
    assert pods == {"sekisho-depot-0", "sekisho-gateway-0"}
    assert poll(lambda: images(control_plane).keys() >= pods, seconds=PATIENCE_SECONDS)
    install(control_plane, version="mended")
    mended = {"registry.example/depot:mended"}
    assert poll(lambda: {images(control_plane).get(pod) for pod in pods} == mended, seconds=PATIENCE_SECONDS)
