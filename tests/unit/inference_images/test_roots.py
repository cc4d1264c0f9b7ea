"""What an image's user can read does not depend on who built it."""

import os
import stat
from pathlib import Path

import pytest
from imagebuild import debian, roots, site
from imagebuild.roots import prepare_root
from imagebuild.store import cache_folder


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay a root of folders in the place of Debian's packages, and compile nothing."""
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path / "cache"))
    package = tmp_path / "python_3.11_all.deb"
    package.touch()

    def lay(root: Path, _: object) -> None:
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/python").touch(mode=0o755)
        (root / "bin").symlink_to("usr/bin")
        (root / "dangling").symlink_to("nowhere")
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)

    monkeypatch.setattr(debian, "fetch_packages", lambda _: {"python": package})
    monkeypatch.setattr(debian, "lay_root", lay)
    monkeypatch.setattr(site, "compile_bytecode", lambda *_: None)


def fill(root: Path) -> None:
    (root / "app").mkdir()
    (root / "app/serve.py").touch()
    (root / "app/secret.py").touch(mode=0o600)
    (root / "app/run").touch(mode=0o700)


def modes(root: Path) -> dict[str, str]:
    paths = [root, *(path for path in root.rglob("*") if not path.is_symlink())]
    return {path.relative_to(root).as_posix(): oct(stat.S_IMODE(path.stat().st_mode)) for path in paths}


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_modes_in_an_image_do_not_depend_on_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        prepare_root(tmp_path / "root", packages=["python"], fill=fill)
    finally:
        os.umask(before)
    assert modes(tmp_path / "root") == {
        **dict.fromkeys((".", "usr", "usr/bin", "usr/bin/python", "app", "app/run"), "0o755"),
        "app/serve.py": "0o644",
        "app/secret.py": "0o644",
        "tmp": "0o1777",
    }


def test_the_python_of_one_image_is_copied_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_root(tmp_path / "one", packages=["python"], fill=fill)

    def lay(*_: object) -> None:
        raise AssertionError("laid again")

    monkeypatch.setattr(roots.debian, "lay_root", lay)
    prepare_root(tmp_path / "two", packages=["python"], fill=fill)
    assert modes(tmp_path / "one") == modes(tmp_path / "two")
    assert [path.suffix for path in (cache_folder() / "roots").iterdir() if path.is_dir()] == [""]
