"""Python packages inside an image: hashed wheels, our own sources, and byte code that a reset clock cannot spoil."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from imagebuild.debian import remove
from imagebuild.failure import run_program
from imagebuild.store import cache_folder, hash_inputs, locked, say, write_whole

SITE = "app/site"
"""Where packages lie in the image; PYTHONPATH of every image names it."""

_UV_VERSION = "0.13.9"
_UNUSED = ("tests", "test", "include", "bin")


def find_uv() -> list[str]:
    """Return how uv is started: beside this Python, from PATH, or freshly installed into the cache."""
    beside = Path(sys.executable).with_name("uv")
    for candidate in (str(beside) if beside.is_file() else None, shutil.which("uv")):
        if candidate:
            return [candidate]
    own = cache_folder() / "tools" / f"uv-{_UV_VERSION}"
    with locked(cache_folder() / "tools.lock", "uv"):
        if not (own / "bin/uv").is_file():
            say("uv: installing (seconds)")
            run_program([sys.executable, "-m", "pip", "install", "-q", "--target", own, f"uv=={_UV_VERSION}"])
    return [str(own / "bin/uv")]


def lock_of_extra(extra: str, repository: Path) -> Path:
    """Return the hashed requirements of one of the project's extras.

    The committed lock where there is one; else pyproject's ranges, resolved once into the cache.
    """
    committed = repository / "operator/locks" / f"{extra}.txt"
    if committed.is_file():
        return committed
    pyproject = repository / "pyproject.toml"
    resolved = cache_folder() / "locks" / f"{extra}-{hash_inputs([extra], [pyproject])}.txt"
    if not resolved.is_file():
        say(f"{extra}: no committed lock, resolving pyproject's extra (seconds)")
        text = run_program(
            [*find_uv(), "pip", "compile", "-q", "--python-version", "3.11", "--extra", extra, "--generate-hashes",
             "--no-emit-index-url", "--no-header", "--no-annotate", pyproject]
        )  # fmt: skip
        write_whole(resolved, text)
    return resolved


def install_wheels(root: Path, lock: Path, *, with_dependencies_checked: bool = True) -> None:
    """Install exactly the lock's wheels into the image's site folder, each checked against its hash.

    Args:
        root: the image's root.
        lock: requirements with hashes. An empty one installs nothing.
        with_dependencies_checked: False where the lock leaves dependencies out on purpose.
    """
    site = root / SITE
    site.mkdir(parents=True, exist_ok=True)
    if not any(line.strip() and not line.startswith("#") for line in lock.read_text().splitlines()):
        return
    command: list[str | Path] = [
        *find_uv(), "pip", "install", "-q", "--target", site, "--python-version", "3.11", "--link-mode", "copy",
        "--require-hashes", "--only-binary", ":all:", "-r", lock,
    ]  # fmt: skip
    if sys.version_info[:2] != (3, 11):
        command += ["--python-platform", f"{os.uname().machine}-manylinux_2_28"]
    if not with_dependencies_checked:
        command.append("--no-deps")
    # an index or find-links setting of the host must not decide what is in an image; hashes catch the rest
    environment = {k: v for k, v in os.environ.items() if k != "UV_FIND_LINKS"}
    run_program(command, environment=environment)
    (site / ".lock").unlink(missing_ok=True)
    for folder in [*site.glob("*/"), site]:
        for name in _UNUSED:
            if (folder / name).is_dir() and folder.name not in _NEEDED_TESTS:
                remove(folder / name)


_NEEDED_TESTS = frozenset({"numpy", "torch", "vllm", "triton"})
"""Packages that import folders of theirs which are only called tests, or that are trimmed elsewhere."""


def leave_out(root: Path, packages: Sequence[str]) -> None:
    """Remove installed packages that the lock names and the image never uses; those that are not there are fine."""
    for package in packages:
        for path in [root / SITE / package, *(root / SITE).glob(f"{package}-*.dist-info")]:
            remove(path)


def copy_sources(root: Path, repository: Path, *, parts: Sequence[str], entry_points: str = "") -> None:
    """Copy parts of the sekisho package into the image, with metadata that tells its version.

    Args:
        root: the image's root.
        repository: the project's root folder.
        parts: files and folders under operator/sekisho.
        entry_points: name of a group of the project's entry points that shall be found; empty for none.
    """
    source, target = repository / "operator/sekisho", root / SITE / "sekisho"
    for part in parts:
        path = source / part
        if path.is_dir():
            shutil.copytree(path, target / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif path.is_file():
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / part)
    version = read_version(repository)
    metadata = root / SITE / f"sekisho-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: sekisho\nVersion: {version}\nLicense: Apache-2.0\n")
    if entry_points:
        metadata.with_name("entry_points.txt").write_text(spell_entry_points(repository, entry_points))


def spell_entry_points(repository: Path, group: str) -> str:
    """Return a group of the project's entry points as packages carry them."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    lines = (f"{name} = {target}\n" for name, target in sorted(project["entry-points"][group].items()))
    return f"[{group}]\n" + "".join(lines)


def read_version(repository: Path) -> str:
    """Return the project's version."""
    return str(tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"])


def compile_bytecode(root: Path, folder: str) -> None:
    """Compile a folder of the image so that a read-only root starts fast.

    The byte code carries no time stamp: image builds reset every file's time, which would make it stale.
    """
    interpreter: list[str | Path]
    if sys.version_info[:2] == (3, 11):
        interpreter = [sys.executable]
    elif shutil.which("python3.11"):
        interpreter = ["python3.11"]
    else:
        say("no Python 3.11 here: the image gets no byte code and starts more slowly")
        return
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    script = (
        "import compileall,py_compile,sys; compileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[2], "
        "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, workers=int(sys.argv[3]))"
    )
    # some packages ship templates that are no valid Python; those simply have no byte code
    run_program(
        [*interpreter, "-S", "-c", script, root / folder, root, str(min(os.cpu_count() or 1, 4))],
        environment=environment,
    )
