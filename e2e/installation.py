"""Puts sekisho onto a test cluster as an administrator would: images, chart, then what people apply."""

import contextlib
import json
import math
import string
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.cluster.errors import ClusterError
from e2e.cluster.patience import PATIENCE_SECONDS, TIMEOUT
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Cluster
from e2e.cluster.reading import reader_of

ROOT = Path(__file__).parent.parent
CHART = ROOT / "charts" / "sekisho"
NAMESPACE = "sekisho-system"
WATCH_PAUSE_SECONDS = 0.2  # where the API has ended one
COMPONENTS = ("controller", "gateway", "depot", "agent")


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the cluster's nodes."""

    repository: str
    digest: str

    @property
    def reference(self) -> str:
        """Repository and digest."""
        return f"{self.repository}@{self.digest}"


def build_images(names: Iterable[str]) -> dict[str, Path]:
    """Build images, or find them built, and return their archives."""
    return {item["name"]: Path(item["archive"]) for item in json.loads(_run_builder("build.py", "--json", *names))}


def _run_builder(script: str, *arguments: str) -> str:
    """Run a program of the image builder; what it says of its progress and failures goes to standard error.

    Raises:
        ClusterError: It failed.
    """
    command = [sys.executable, str(ROOT / "inference-images" / script), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        words = " ".join((f"inference-images/{script}", *arguments))
        raise ClusterError(f"{words} ended with {done.returncode}", remedy="read what it says above")
    return done.stdout


def load_images(
    cluster: Cluster, names: Iterable[str], *, nodes: Collection[str] | None = None, report: Report = silent
) -> dict[str, Image]:
    """Build images and put them onto every node, or onto some."""

    def load(built: tuple[str, Path]) -> tuple[str, Image]:
        name, archive = built
        repository, _, digest = cluster.load_image(archive, nodes=nodes).partition("@")
        report(f"image {name} is on its nodes ({archive.stat().st_size / 1e6:.0f} MB)")
        return name, Image(repository.rsplit(":", 1)[0], digest)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(pool.map(load, build_images(names).items()))


def make_model(name: str) -> list[Path]:
    """Make a model, or find it made, and return its files."""
    folder = Path(_run_builder("model.py", name).strip().splitlines()[-1])
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]


@dataclass(slots=True)
class Installation:
    """sekisho on a cluster.

    Attributes:
        values: Values of the chart beside the images.
        is_behind: Whether other values are installed than these; see :meth:`leave`.
    """

    cluster: Cluster
    values: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    is_behind: bool = False

    def install(self, *, report: Report = silent) -> None:
        """Build and load the images, then install or upgrade the chart and wait until it runs."""
        self.images |= load_images(self.cluster, COMPONENTS, report=report)
        self._upgrade(self.values)

    def upgrade(self, values: Mapping[str, Any]) -> None:
        """Upgrade the chart with `values` and wait until every process is ready."""
        # The API's descriptions were held against it when it was installed; each time costs a second of a core.
        self._upgrade(values, "--disable-openapi-validation")

    def _upgrade(self, values: Mapping[str, Any], *how: str) -> None:
        images = {name: {"repository": image.repository, "digest": image.digest} for name, image in self.images.items()}
        merged = {"images": images, "controller": {"logLevel": "INFO"}, **values}
        file = self.cluster.kubeconfig.parent / "values.json"
        file.write_text(json.dumps(merged))
        self.cluster.helm(
            "upgrade", "--install", "sekisho", str(CHART), "--namespace", NAMESPACE, "--create-namespace",
            "--values", str(file), "--wait", TIMEOUT, *how,
        )  # fmt: skip
        self.is_behind = False

    def leave(self, values: dict[str, Any]) -> None:
        """Let these values hold from the next upgrade on: who comes after us upgrades in any case, if anybody comes."""
        self.values, self.is_behind = values, True

    def catch_up(self) -> None:
        """Install the values where somebody left that to us."""
        if self.is_behind:
            self.upgrade(self.values)

    def uninstall(self) -> None:
        """Remove the chart; definitions, and so models and services, stay."""
        self.cluster.helm("uninstall", "sekisho", "--namespace", NAMESPACE, "--wait", TIMEOUT)

    def apply(self, text: str) -> str:
        """Apply manifests and return what kubectl prints."""
        return self.cluster.kubectl("apply", "-f", "-", stdin=text)

    def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any]:
        """Read one object."""
        return reader_of(self.cluster.kubeconfig).need(kind, name, namespace=namespace)

    def conditions(self, name: str, *, namespace: str) -> dict[str, dict[str, Any]]:
        """Read the conditions of an InferenceService by type."""
        return conditions_of(self.get("inferenceservice", name, namespace=namespace))

    def wait_condition(
        self, name: str, condition: str, wanted: str, *, namespace: str, reason: str = "",
        seconds: float = PATIENCE_SECONDS,
    ) -> dict[str, Any]:  # fmt: skip
        """Wait until a condition has the wanted status, and reason where given; return it.

        Raises:
            TimeoutError: It did not within `seconds`; the message shows every condition.
        """
        deadline, reader, found = time.monotonic() + seconds, reader_of(self.cluster.kubeconfig), {}
        while (left := deadline - time.monotonic()) > 0:
            versions = reader.watch("inferenceservice", name, namespace=namespace, seconds=math.ceil(left))
            with contextlib.closing(versions):
                for service in versions:
                    found = conditions_of(service)
                    current = found.get(condition, {})
                    if current.get("status") == wanted and reason in ("", current.get("reason")):
                        return current
            time.sleep(WATCH_PAUSE_SECONDS)
        shown = "; ".join(f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in found.values())
        raise TimeoutError(f"{namespace}/{name}: {condition} is not {wanted} {reason}: {shown}")


def conditions_of(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the conditions of an InferenceService by type."""
    return {condition["type"]: condition for condition in service.get("status", {}).get("conditions", [])}


def render_example(path: Path, values: Mapping[str, str]) -> str:
    """Fill the ${NAMES} of an example."""
    return string.Template(path.read_text()).substitute(values)
