"""Programs are built into a folder of their own, which is whole or not there."""

from pathlib import Path

import pytest

from e2e.cluster import build, host
from e2e.cluster.build import Step, ensure_binaries
from e2e.cluster.errors import ClusterError
from e2e.cluster.progress import silent, ticking


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path))
    monkeypatch.setattr(host, "require_go", lambda: None)
    monkeypatch.setattr(build, "_kwok_stages", lambda: "")
    return tmp_path


def test_a_build_that_fails_leaves_nothing_and_does_not_say_that_it_built(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ClusterError("no room", remedy="make some")

    monkeypatch.setattr(build, "_build", fail)
    with pytest.raises(ClusterError, match="no room"):
        ensure_binaries(silent)
    assert [path.name for path in cache.iterdir()] == [".build.lock"]
    said = capsys.readouterr().err
    assert "gave up building Kubernetes" in said
    assert "  built" not in said


def test_what_a_killed_build_left_goes_with_the_next(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(step: Step, folder: Path) -> None:
        (folder / step.binary).touch()

    monkeypatch.setattr(build, "_build", write)
    (cache / ".bin-0123456789ab.x1").mkdir()
    (cache / ".bin-0123456789ab.x1/kubebins").touch()
    target = ensure_binaries(silent)
    assert sorted(path.name for path in cache.iterdir()) == sorted([".build.lock", target.name])
    assert (target / "etcd").is_file()


def test_what_was_built_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    with ticking("it", expected="1 s"):
        pass
    assert "built it in 0:00" in capsys.readouterr().err


def test_go_finds_a_home_where_a_service_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert build._environment()["HOME"] == str(Path.home())
    monkeypatch.setenv("HOME", "/own")
    assert build._environment()["HOME"] == "/own"
