"""What the CPU test image of vLLM is made of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from imagebuild import debian, kept, site
from imagebuild.catalog import REPOSITORY, Image
from imagebuild.failure import ImageBuildError, ensure_program, run_program
from imagebuild.store import say

from vllm.cpu_torch import drop_device_code, stub_cuda

_LIBRARIES = ("libstdc++6", "libgomp1", "libnuma1", "libsqlite3-0", "libcrypt1", "netbase", "tzdata")
_STRIPPED = ("vllm/*.so", "torch/lib/libtorch_cpu.so", "torch/lib/libtorch_python.so")
_LOADER = ("__init__.py", "py.typed", "errors.py", "formats", "seal", "loader")
"""Of the sekisho package: what vLLM's load format for sealed weights is made of."""
_PLUGINS = "vllm.general_plugins"
"""The group of entry points by which vLLM finds that load format."""
_UNUSED = ("torch/include", "torch/share", "torch/test", "vllm/third_party/flashmla", "triton")


def describe(folder: Path) -> Image:
    """Return the image of the engine in this folder."""
    if os.uname().machine != "x86_64":
        raise ImageBuildError(f"the vLLM test image is built for x86_64 only, this is {os.uname().machine}")
    lock, entry, plugin = folder / "requirements.txt", folder / "serve.py", folder / "plugin"
    making = tuple(folder / name for name in ("image.py", "cpu_torch.py", "elf.py"))
    loader = tuple(REPOSITORY / "operator/sekisho" / part for part in _LOADER)

    def fill(root: Path) -> None:
        files = debian.fetch_packages((*debian.PYTHON, *_LIBRARIES)).values()
        kept.fill_once(
            root / site.SITE, name="vllm", inputs=(lock, *making, Path(site.__file__)),
            words=sorted(file.name for file in files), fill=lambda: _install_engine(root, lock),
        )  # fmt: skip
        _install_plugin(plugin, root / site.SITE)
        site.copy_sources(root, REPOSITORY, parts=_LOADER, entry_points=_PLUGINS)
        shutil.copyfile(entry, root / "app/serve.py")

    return Image(
        name="vllm",
        containerfile=folder / "Containerfile",
        debian=(*debian.PYTHON, *_LIBRARIES),
        words=(site.read_version(REPOSITORY), site.spell_entry_points(REPOSITORY, _PLUGINS)),
        inputs=(lock, entry, plugin, *making, *loader),
        fill=fill,
        bytecode=(f"{site.SITE}/sekisho",),
        zstd=True,
        about="4 to 6 minutes the first time",
    )


def _install_engine(root: Path, lock: Path) -> None:
    say("vllm: installing the wheels (about 1 min, 700 MB fetched the first time)")
    # the lock leaves out CUDA's libraries on purpose
    site.install_wheels(root, lock, with_dependencies_checked=False)
    packages = root / site.SITE
    say("vllm: making torch load without CUDA's libraries, stripping, compiling (about 2 min)")
    stub_cuda(packages / "torch", root)
    drop_device_code(packages / "torch")
    _trim(packages)
    site.compile_bytecode(root, site.SITE)


def _trim(packages: Path) -> None:
    ensure_program("strip", package="binutils")
    for name in _UNUSED:
        debian.remove(packages / name)
    for pattern in _STRIPPED:
        for library in packages.glob(pattern):
            run_program(["strip", "--strip-unneeded", library])


def _install_plugin(source: Path, packages: Path) -> None:
    """Copy the plugin and announce it the way vLLM looks for plugins: by an entry point."""
    for module in source.glob("*.py"):
        shutil.copyfile(module, packages / module.name)
    info = packages / "sekisho_vllm_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: sekisho-vllm-plugin\nVersion: 1\nLicense: Apache-2.0\n"
    )
    (info / "entry_points.txt").write_text("[vllm.general_plugins]\nsekisho_cpu = sekisho_vllm_plugin:register\n")
