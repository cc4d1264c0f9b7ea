"""Reports of confidential machines through the kernel's folder, served by a simulator of it."""

from pathlib import Path

import pytest

from sekisho.attester.collecting import Hardware
from sekisho.attester.tsm import read_report
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.simulators.hardware.configfs import Report, TsmSource, can_serve, chip_source, serve_tsm
from tests.simulators.hardware.snp import SimulatedSnp

CHIP = SimulatedSnp()
DATA = bytes(range(64))

needs_fuse = pytest.mark.skipif(not can_serve(), reason="the simulated configfs needs root and /dev/fuse")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "report").mkdir()
    return tmp_path


def test_without_such_firmware_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="the firmware gives no report at") as raised:
        read_report(tmp_path, DATA)
    assert raised.value.reason is Reason.EVIDENCE_MISSING


@pytest.mark.slow
@needs_fuse
def test_a_report_is_made_for_what_was_asked_and_leaves_nothing_behind(root: Path) -> None:
    with serve_tsm(root / "report", chip_source(CHIP)) as source:
        evidence = read_report(root, DATA)
        assert source.asked == [DATA]
        assert list((root / "report").iterdir()) == []
    assert evidence.kind == "snp"
    assert evidence.report[0x50:0x90] == DATA
    assert len(evidence.certificates) == 3


@needs_fuse
def test_what_a_killed_process_left_behind_is_no_obstacle(root: Path) -> None:
    with serve_tsm(root / "report", chip_source(CHIP)):
        (root / "report" / "sekisho-attester").mkdir()
        (root / "report" / "sekisho-attester" / "inblob").write_bytes(b"old" * 10)
        assert read_report(root, DATA).report[0x50:0x90] == DATA


@needs_fuse
def test_firmware_without_a_table_of_certificates_gives_a_report_alone(root: Path) -> None:
    with serve_tsm(root / "report", TsmSource("tdx_guest", lambda data: Report(b"quote" + data))):
        evidence = read_report(root, DATA)
    assert (evidence.kind, evidence.report, evidence.certificates) == ("tdx", b"quote" + DATA, ())


@needs_fuse
def test_a_report_that_somebody_else_asked_for_meanwhile_is_not_taken(root: Path) -> None:
    others = iter([b"other" * 12, None, None])
    source = TsmSource("sev_guest", lambda data: Report(CHIP.report(data.ljust(64))), disturb=lambda: next(others))
    with serve_tsm(root / "report", source), pytest.raises(UnavailableError, match="somebody else wrote"):
        read_report(root, DATA)


@needs_fuse
def test_firmware_of_a_kind_that_nobody_verifies_is_refused(root: Path) -> None:
    source = TsmSource("arm_cca_guest", lambda _: Report(b"token"))
    with serve_tsm(root / "report", source), pytest.raises(RefusedError, match="'arm_cca_guest' are of no known kind"):
        read_report(root, DATA)


@needs_fuse
def test_a_report_that_is_too_long_is_not_read(root: Path) -> None:
    source = TsmSource("tdx_guest", lambda _: Report(bytes(40_000)))
    with serve_tsm(root / "report", source), pytest.raises(RefusedError, match="the firmware gives no report"):
        read_report(root, DATA)


@needs_fuse
async def test_a_short_digest_is_signed_with_zeros_behind_it(root: Path) -> None:
    with serve_tsm(root / "report", chip_source(CHIP)):
        (piece,) = await Hardware(None, root).sign(DATA[:32])
    assert piece.report[0x50:0x90] == DATA[:32] + bytes(32)
