"""Every image of the project: what goes into it and what its root is made of."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuild import debian, site
from imagebuild.store import hash_inputs

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = REPOSITORY / "inference-images"
REGISTRY = "sekisho.local"
"""Host part of the names. It resolves nowhere: these images are imported, never pulled."""

_DECIDING_MODULES = ("builders.py", "debian.py", "oci.py", "roots.py", "site.py")
"""Modules of the builder whose change may change an image."""

_PROCESSES = ("controller", "gateway", "depot", "agent", "attester", "broker", "cli", "trust", "unsafe_release")
_PARTS = {
    "agent": (
        "__init__.py", "py.typed", "errors.py", "kernel.py", "attest", "devices", "seal", "agent",
        *(f"loader/{name}.py" for name in ("__init__", "handover", "mapping", "opening", "reading")),
    ),
    "attester": (
        "__init__.py", "py.typed", "errors.py", "kernel.py", "telemetry.py", "api", "attest", "devices", "kube",
        "attester",
    ),
    # of the key services only the one that is none: the image holds no client of another
    "unsafe_release": (
        "__init__.py", "py.typed", "errors.py", "kernel.py", "telemetry.py", "api", "seal", "kube", "unsafe_release",
        *(f"kms/{name}.py" for name in ("__init__", "envelope", "failures", "service", "unsafe_development")),
    ),
}  # fmt: skip
"""What a process has of the sekisho package where it has not all but the other processes."""


_NOT_IN_PODS = ("kubernetes",)
"""126 MB, two thirds of an image: read only for the log-in plug-ins of a kubeconfig, which no pod has."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image: inputs that decide whether it is rebuilt, and the function that fills its root."""

    name: str
    containerfile: Path
    debian: tuple[str, ...]
    inputs: tuple[Path, ...]
    fill: Callable[[Path], None]
    """Called with the root, which holds Debian's Python already."""
    target: str = ""
    words: tuple[str, ...] = ()
    """Whatever else decides the content."""
    bytecode: tuple[str, ...] = ("app",)
    """Folders whose Python is compiled at the end; what was compiled while it was filled is not among them."""
    zstd: bool = False
    about: str = "under a minute"

    @property
    def input_hash(self) -> str:
        """Return the key of everything that decides the image's content, Debian's versions included.

        Needs the Debian packages: they are fetched where the cache lacks one.
        """
        packages = debian.fetch_packages(self.debian)
        builder = [Path(__file__).with_name(name) for name in _DECIDING_MODULES]
        return hash_inputs(
            [self.name, *self.words, *(file.name for file in packages.values())],
            [*builder, self.containerfile, *self.inputs],
        )


def find_image(name: str) -> Image:
    """Return an image of the catalogue.

    Raises:
        KeyError: there is none of that name.
    """
    return _CATALOGUE[name]()


def list_names() -> list[str]:
    """Return the names of all images, the heavy one last."""
    return list(_CATALOGUE)


def _process(name: str, *, packages: tuple[str, ...]) -> Image:
    folder = name.replace("-", "_")
    sources = REPOSITORY / "operator/sekisho"
    others = {other for other in _PROCESSES if other != folder}
    parts = _PARTS.get(folder) or tuple(
        sorted(p.name for p in sources.iterdir() if p.name not in others and not p.name.startswith((".", "__py")))
    )
    lock = site.lock_of_extra(name, REPOSITORY)

    def fill(root: Path) -> None:
        site.install_wheels(root, lock)
        site.leave_out(root, _NOT_IN_PODS)
        site.copy_sources(root, REPOSITORY, parts=parts)

    return Image(
        name=name,
        containerfile=REPOSITORY / "operator/Containerfile",
        target=name,
        debian=packages,
        words=(site.read_version(REPOSITORY), *_NOT_IN_PODS),
        inputs=(lock, *(sources / part for part in parts)),
        fill=fill,
    )


def _engine(folder: str) -> Image:
    """Return the image an engine's own folder describes in ``image.py``."""
    module = importlib.import_module(f"{folder}.image")
    described: Image = module.describe(IMAGES / folder)
    return described


_CATALOGUE: dict[str, Callable[[], Image]] = {
    "agent": lambda: _process("agent", packages=(*debian.AGENT_PYTHON, *debian.NFTABLES)),
    "controller": lambda: _process("controller", packages=(*debian.PYTHON, "libstdc++6")),  # numpy links to it
    "gateway": lambda: _process(
        "gateway", packages=(*debian.PYTHON, "ca-certificates", "libstdc++6")
    ),  # google-re2 links to it
    "depot": lambda: _process("depot", packages=(*debian.PYTHON, "ca-certificates")),
    "broker": lambda: _process(
        "broker", packages=(*debian.PYTHON, "ca-certificates", "libstdc++6")
    ),  # grpc links to it
    "attester": lambda: _process("attester", packages=debian.PYTHON),
    "trust": lambda: _process("trust", packages=debian.PYTHON),
    "unsafe-release": lambda: _process("unsafe-release", packages=debian.PYTHON),
    "llamacpp": lambda: _engine("llamacpp"),
    "vllm": lambda: _engine("vllm"),
}


def render_profiles(name: str, reference: str) -> list[str]:
    """Return the engine's Runtime manifests that name the image built here, with its digest filled in."""
    blank = f"{REGISTRY}/{name}@sha256:{'0' * 64}"
    texts = [path.read_text() for path in sorted((IMAGES / name).glob("runtime*.yaml"))]
    return [text.replace(blank, reference) for text in texts if blank in text]
