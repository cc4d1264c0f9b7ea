"""A writer whose key changes: what cannot be handed over records nothing, what was begun is completed."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sekisho.cli.main import cli
from sekisho.errors import Reason, RefusedError
from sekisho.ledger.entry import encode_entry, parse_entry
from sekisho.ledger.receipt import batch_of, sign_batch
from sekisho.recording.claim import Claim
from sekisho.recording.keeper import Keeper, Keeping, seal
from sekisho.recording.keys import LOG_KEY, PUBLIC_KEY, LogKey, read_log_key, write_public
from sekisho.recording.logs import LOGS, Keys, LogLimits, Logs, list_logs
from sekisho.recording.record import Identity, Record, RecordLimits
from tests.unit.recording.reading import read_record

NAME = "sekisho/gateway-0"
OLD, NEW, OTHER = (LogKey(Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32)) for at in (1, 2, 3))
OPENED = {"kind": "opened", "at": "2026-11-29T00:00:00.000+00:00", "instance": "gateway-0"}


def write_key(path: Path, key: LogKey) -> Path:
    path.write_bytes(key.secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def write(folder: Path, now: LogKey, *before: LogKey, kinds: Sequence[str] = ("x",)) -> str:
    """Open, write and close, as a process does; return the receipt of the last entry."""
    logs = Logs(folder / LOGS, NAME, Keys(now, before), LogLimits())
    try:
        logs.open(OPENED)
        write_public(folder, now.named(NAME))
        written = logs.append([encode_entry({"kind": kind}) for kind in kinds], OPENED).take(len(kinds) - 1)
        logs.publish()
    finally:
        logs.close()
    signed = sign_batch(batch_of(written), now.named(written.origin), now.sign, at=1)
    return signed.receipt(written).encode()


def refuse(folder: Path, now: LogKey, *before: LogKey) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        write(folder, now, *before)
    return refused.value


def kinds(folder: Path) -> list[str]:
    return [item["kind"] for item in read_record(folder)]


def ledger(*words: Any) -> str:
    result = CliRunner().invoke(cli, ["ledger", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def old_key_alone(folder: Path) -> Path:
    """Return a file with the verifier key that an auditor was given before the change."""
    path = folder / "old.pub"
    path.write_text(f"{OLD.named(NAME).encode()}\n")
    return path


def test_without_the_key_before_nothing_is_recorded(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    error = refuse(tmp_path, NEW, OTHER)
    assert error.reason is Reason.SIGNER_NOT_TRUSTED
    assert error.message.startswith(f"no signature is by {NAME}/")
    assert kinds(tmp_path) == ["opened", "x"]


def test_a_log_that_was_handed_over_to_another_records_nothing(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    write(tmp_path, NEW, OLD)
    shutil.rmtree(list_logs(tmp_path / LOGS)[-1])
    for key, before in ((OTHER, OLD), (OLD, NEW)):
        error = refuse(tmp_path, key, before)
        assert error.reason is Reason.RECORD_BROKEN
        assert f"was handed over to the key {NEW.named(NAME).id.hex()}, and another signs now" in error.message


def test_a_log_that_an_unknown_key_began_and_nobody_signed_records_nothing(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    (list_logs(tmp_path / LOGS)[0] / "checkpoint").unlink()
    error = refuse(tmp_path, NEW)
    assert error.reason is Reason.SIGNER_NOT_TRUSTED
    assert f"the last log was begun under the key '{OLD.named(NAME).id.hex()}', which is not here" in error.message
    write(tmp_path, NEW, OLD)
    assert kinds(tmp_path) == ["opened", "x", "opened", "handover", "opened", "x"]


def test_the_log_ends_names_the_next_key_and_all_is_verified_by_the_old_one(tmp_path: Path) -> None:
    receipts = [write(tmp_path, OLD), write(tmp_path, NEW, OLD), write(tmp_path, NEW)]
    assert kinds(tmp_path) == ["opened", "x", "opened", "handover", "opened", "x", "opened", "x"]
    assert (tmp_path / PUBLIC_KEY).read_text().splitlines() == [NEW.named(NAME).encode(), OLD.named(NAME).encode()]
    given = []
    for number, receipt in enumerate(receipts):
        (tmp_path / f"receipt-{number}").write_text(receipt)
        given += ["--receipt", tmp_path / f"receipt-{number}"]
    for key in (old_key_alone(tmp_path), tmp_path / PUBLIC_KEY):
        told = ledger("verify", tmp_path / LOGS, "--key", key, *given)
        assert "8 records, " in told
        assert "2 logs of 1 writer, unforked, 3 receipts kept" in told
    exported = tmp_path / "out.tar"
    ledger("export", tmp_path / LOGS, "--key", old_key_alone(tmp_path), "-o", exported)
    ledger("verify", exported, "--key", old_key_alone(tmp_path))
    for number in range(len(receipts)):
        proof = tmp_path / f"proof-{number}"
        ledger(
            "prove", exported, "--key", tmp_path / "old.pub", "--receipt", tmp_path / f"receipt-{number}", "-o", proof
        )
        ledger("verify", proof, "--key", tmp_path / PUBLIC_KEY)


def test_a_successor_that_was_forged_is_refused(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    write(tmp_path, NEW, OLD)
    last = list_logs(tmp_path / LOGS)[-1]
    first = parse_entry((last / "journal").read_bytes().split(b"\n")[0][65:])
    shutil.rmtree(last)
    forged = Logs(tmp_path / LOGS, NAME, Keys(OTHER), LogLimits())
    forged._begin(OPENED, None)
    forged.append([encode_entry({"kind": "x"})], OPENED)
    forged.close()
    place = list_logs(tmp_path / LOGS)[-1]
    again = Logs(tmp_path / LOGS, NAME, Keys(OTHER), LogLimits())
    shutil.rmtree(place)
    again._begin(OPENED | {"previous": first["previous"]}, None)
    again.publish()
    again.close()
    for key in ([old_key_alone(tmp_path)], [old_key_alone(tmp_path), write_other(tmp_path)]):
        words = [word for file in key for word in ("--key", str(file))]
        result = CliRunner().invoke(cli, ["ledger", "verify", str(tmp_path / LOGS), *words])
        assert result.exit_code == 5
        assert "SignerNotTrusted: " in result.output
    assert f"which was handed over to {NEW.named(NAME).id.hex()}" in result.output


def write_other(folder: Path) -> Path:
    path = folder / "other.pub"
    path.write_text(f"{OTHER.named(NAME).encode()}\n")
    return path


@pytest.mark.parametrize("before", [(OLD,), ()], ids=["both keys", "the new key alone"])
def test_a_crash_before_the_next_log_began_is_gone_on_from(tmp_path: Path, before: tuple[LogKey, ...]) -> None:
    write(tmp_path, OLD)
    write(tmp_path, NEW, OLD)
    shutil.rmtree(list_logs(tmp_path / LOGS)[-1])
    write(tmp_path, NEW, *before)
    assert kinds(tmp_path) == ["opened", "x", "opened", "handover", "opened", "x"]
    ledger("verify", tmp_path / LOGS, "--key", old_key_alone(tmp_path))


def test_a_crash_before_the_end_was_signed_is_gone_on_from(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    signed = (list_logs(tmp_path / LOGS)[0] / "checkpoint").read_bytes()
    write(tmp_path, NEW, OLD)
    shutil.rmtree(list_logs(tmp_path / LOGS)[-1])
    (list_logs(tmp_path / LOGS)[0] / "checkpoint").write_bytes(signed)
    assert refuse(tmp_path, NEW).reason is Reason.SIGNER_NOT_TRUSTED
    write(tmp_path, NEW, OLD)
    assert kinds(tmp_path).count("handover") == 1
    ledger("verify", tmp_path / LOGS, "--key", old_key_alone(tmp_path))


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_log_that_is_sealed_already_is_followed(tmp_path: Path, *, handed_over: bool) -> None:
    write(tmp_path, OLD)
    if handed_over:
        write(tmp_path, NEW, OLD)
        shutil.rmtree(list_logs(tmp_path / LOGS)[-1])
    seal(list_logs(tmp_path / LOGS)[0])
    write(tmp_path, NEW, OLD)
    assert kinds(tmp_path).count("handover") == 1
    assert len(list_logs(tmp_path / LOGS)) == (2 if handed_over else 3)
    ledger("verify", tmp_path / LOGS, "--key", old_key_alone(tmp_path))


def test_a_disk_that_fails_in_between_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, OLD)
    logs = Logs(tmp_path / LOGS, NAME, Keys(NEW, (OLD,)), LogLimits())
    with monkeypatch.context() as patch:
        patch.setattr(Logs, "publish", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="no room"):
                logs.open(OPENED)
    logs.open(OPENED)
    write_public(tmp_path, NEW.named(NAME))
    logs.append([encode_entry({"kind": "x"})], OPENED)
    logs.publish()
    logs.close()
    assert kinds(tmp_path).count("handover") == 1
    ledger("verify", tmp_path / LOGS, "--key", old_key_alone(tmp_path))


def fail(_logs: Logs) -> bytes:
    raise OSError(28, "no room")


def test_retention_keeps_the_entry_that_names_the_next_key(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    write(tmp_path, NEW, OLD)
    logs = Logs(tmp_path / LOGS, NAME, Keys(NEW), LogLimits())
    logs.open(OPENED)
    keeper = Keeper(
        tmp_path / LOGS, Keeping(retention_seconds=0.0),
        note=lambda entry: logs.append([encode_entry(entry)], OPENED) and None, active=lambda: logs.active,
    )  # fmt: skip
    keeper.turn()
    logs.publish()
    logs.close()
    assert (list_logs(tmp_path / LOGS)[0] / "last").exists()
    told = ledger("verify", tmp_path / LOGS, "--key", old_key_alone(tmp_path))
    assert "the text of 4 records was removed by retention" in told
    exported = tmp_path / "out.tar"
    ledger("export", tmp_path / LOGS, "--key", tmp_path / "old.pub", "-o", exported)
    ledger("verify", exported, "--key", tmp_path / "old.pub")


async def test_a_process_hands_over_at_its_start(tmp_path: Path) -> None:
    keys = write_key(tmp_path / "new.pem", NEW), write_key(tmp_path / "old.pem", OLD)
    own = read_log_key(tmp_path / "record", None)
    for given in ((), (keys[1], None), (keys[0], keys[1]), (keys[0], tmp_path / "gone.pem")):
        record = Record(
            tmp_path / "record", Identity("gateway-0", "sekisho", *given), limits=RecordLimits(commit_seconds=60.0)
        )
        record.open()
        try:
            await record.append({"kind": "x"})
        finally:
            await record.close()
    assert kinds(tmp_path / "record").count("handover") == 2
    public = (tmp_path / "record" / PUBLIC_KEY).read_text().splitlines()
    assert public == [key.named(NAME).encode() for key in (NEW, OLD, own)]
    (tmp_path / "own.pub").write_text(public[-1])
    ledger("verify", tmp_path / "record" / LOGS, "--key", tmp_path / "own.pub")


def rotate(folder: Path, *words: Any) -> Any:
    return CliRunner().invoke(cli, ["ledger", "rotate", str(folder), *map(str, words)])


def test_a_folder_that_is_written_or_is_no_record_is_not_rotated(tmp_path: Path) -> None:
    result = rotate(tmp_path)
    assert result.exit_code == 4
    assert f"RecordBroken: {tmp_path} is no record of a pod: it has not both logs and log.pub" in result.output
    write(tmp_path, OLD)
    write_key(tmp_path / LOG_KEY, OLD)
    claim = Claim(tmp_path)
    claim.take()
    try:
        result = rotate(tmp_path)
    finally:
        claim.release()
    assert result.exit_code != 0
    assert "another process still writes this record" in result.output
    result = rotate(tmp_path, "--new", tmp_path / LOG_KEY)
    assert "the new key is the old one; give another" in result.output
    assert kinds(tmp_path) == ["opened", "x"]


def test_a_key_that_does_not_sign_there_rotates_nothing(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    result = rotate(tmp_path, "--key", write_key(tmp_path / "other.pem", OTHER))
    assert result.exit_code == 5
    assert "SignerNotTrusted: " in result.output
    assert kinds(tmp_path) == ["opened", "x"]


def test_a_stopped_writers_own_key_is_rotated_again_and_again(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    write_key(tmp_path / LOG_KEY, OLD)
    for _ in range(2):
        assert rotate(tmp_path).exit_code == 0
    result = rotate(tmp_path, "--new", write_key(tmp_path / "new.pem", NEW), "--json")
    assert NEW.named(NAME).encode() in result.output
    write(tmp_path, NEW)
    assert kinds(tmp_path).count("handover") == 3
    assert len((tmp_path / PUBLIC_KEY).read_text().splitlines()) == 4
    assert not (tmp_path / "next.key").exists()
    ledger("verify", tmp_path / LOGS, "--key", old_key_alone(tmp_path))


def test_a_rotation_that_was_cut_off_goes_on_with_the_same_new_key(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    write_key(tmp_path / LOG_KEY, OLD)
    assert rotate(tmp_path).exit_code == 0
    (tmp_path / LOG_KEY).rename(tmp_path / "next.key")
    write_key(tmp_path / LOG_KEY, OLD)
    assert rotate(tmp_path).exit_code == 0
    assert kinds(tmp_path).count("handover") == 1
    ledger("verify", tmp_path / LOGS, "--key", old_key_alone(tmp_path))
