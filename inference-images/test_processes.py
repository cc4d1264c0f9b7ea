"""The images of our own processes: they start, hold no shell, and carry what their process imports."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from imagebuild.catalog import REPOSITORY
from imagebuild.main import build_image
from imagebuild.sandbox import run_image
from imagebuild.unpacked import lend_root

pytestmark = pytest.mark.cluster
PROCESSES = ("agent", "attester", "controller", "gateway", "depot", "broker", "trust", "unsafe-release")


@pytest.fixture(scope="module", params=PROCESSES)
def built(request: pytest.FixtureRequest, need_root: None) -> Iterator[tuple[str, Path]]:
    archive = build_image(request.param).archive
    with lend_root(archive):
        yield request.param, archive


def run_to_end(archive: Path, work: Path, command: list[str]) -> tuple[int, str]:
    with run_image(archive, work, entrypoint=command[:1], arguments=command[1:]) as running:
        code = running.process.wait(timeout=240)
        return code, running.printed


def test_there_is_no_shell(built: tuple[str, Path], tmp_path: Path) -> None:
    code, printed = run_to_end(built[1], tmp_path, ["/bin/sh", "-c", "true"])
    assert code == 127, printed
    assert "No such file" in printed


def test_nothing_can_be_written_but_to_tmp(built: tuple[str, Path], tmp_path: Path) -> None:
    script = "open('/tmp/x', 'w').close(); print('tmp'); open('/app/x', 'w')"
    code, printed = run_to_end(built[1], tmp_path, ["/usr/bin/python3.11", "-c", script])
    assert code == 1
    assert "tmp\n" in printed
    assert "OSError: [Errno 30] Read-only file system: '/app/x'" in printed


def test_every_module_of_the_process_can_be_imported(built: tuple[str, Path], tmp_path: Path) -> None:
    """Modules are found in the tree, so that one the image lacks is missed too."""
    name, archive = built
    package = name.replace("-", "_")
    folder = REPOSITORY / "operator/sekisho" / package
    modules = ["sekisho.errors"] + [
        ".".join(("sekisho", package, *path.relative_to(folder).with_suffix("").parts))
        for path in sorted(folder.rglob("*.py"))
        if path.name != "__init__.py"
    ]
    script = f"import importlib, os; print(os.getuid()); [importlib.import_module(m) for m in {modules}]; print('all')"
    code, printed = run_to_end(archive, tmp_path, ["/usr/bin/python3.11", "-c", script])
    assert printed.splitlines()[-1:] == ["all"], printed
    assert printed.splitlines()[0] == "65532"
    assert code == 0


def test_the_agents_image_has_a_working_nft(need_root: None, tmp_path: Path) -> None:
    code, printed = run_to_end(build_image("agent").archive, tmp_path, ["/usr/sbin/nft", "--version"])
    assert (code, printed.split()[0]) == (0, "nftables"), printed


def test_the_agents_image_unseals_by_the_openssl_of_the_wheel_and_tells_memory_from_disk(
    need_root: None, tmp_path: Path
) -> None:
    script = (
        "from pathlib import Path\n"
        "from sekisho.agent.volume import check_memory_backed\n"
        "from sekisho.errors import RefusedError\n"
        "from sekisho.seal.openssl import describe_openssl\n"
        "check_memory_backed(Path('/tmp'))\n"
        "try: check_memory_backed(Path('/app'))\n"
        "except RefusedError as error: print(error.reason, describe_openssl().bundled)\n"
    )
    code, printed = run_to_end(build_image("agent").archive, tmp_path, ["/usr/bin/python3.11", "-c", script])
    assert (code, printed.split()) == (0, ["VolumeMissing", "True"]), printed
