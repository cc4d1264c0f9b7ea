"""A log verified from its files: truncated, rewritten, forked; then as it is."""

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import Checkpoint
from sekisho.ledger.merkle import hash_leaf
from sekisho.ledger.tiles import encode_bundle
from sekisho.ledger.verify import FIRST, VerifiedLog, name_key, read_link, verify_chains, verify_log
from tests.unit.ledger.trees import SECRET, WITNESS, Log, log_key, opened, spell

ENTRIES = [opened(), *(spell(kind="request", n=number) for number in range(599))]
NAME = "ledger.example/gateway-0"


def check(log: Log, *marks: Checkpoint) -> VerifiedLog:
    return verify_log(log.read, log.key, marks=marks)


def refused(log: Log, *marks: Checkpoint) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refusal:
        check(log, *marks)
    return refusal.value.reason, refusal.value.message


def test_a_log_without_a_checkpoint_is_refused() -> None:
    log = Log(ENTRIES)
    del log.files["checkpoint"]
    assert refused(log) == (Reason.RECORD_BROKEN, f"the log {log.origin} has no checkpoint")


def test_a_log_of_another_key_is_refused() -> None:
    with pytest.raises(RefusedError) as refusal:
        verify_log(Log(ENTRIES).read, log_key(secret=WITNESS))
    assert refusal.value.reason is Reason.SIGNER_NOT_TRUSTED


@pytest.mark.parametrize("index", [0, 255, 256, 511, 512, 599])
def test_a_changed_entry_is_a_rewrite(index: int) -> None:
    log, other = Log(ENTRIES), [*ENTRIES]
    other[index] = spell(kind="request", n=-1)
    start = index // 256 * 256
    path = f"tile/entries/{index // 256:03d}" + (".p/88" if index >= 512 else "")
    log.files[path] = encode_bundle(other[start : start + 256])
    reason, message = refused(log)
    assert reason is Reason.RECORD_REWRITTEN
    assert "does not have the hashes" in message if index < 512 else "do not make the root that was signed" in message


def test_a_changed_tile_is_a_rewrite_whether_full_or_not() -> None:
    tiles = [path for path in Log(ENTRIES).files if path.startswith("tile/") and "entries" not in path]
    assert {".p/" in path for path in tiles} == {True, False}
    for path in tiles:
        for change in (
            lambda data: data[:-1] + bytes([data[-1] ^ 1]),
            lambda data: data[:-1],
            lambda data: data + b"x",
        ):
            log = Log(ENTRIES)
            log.files[path] = change(log.files[path])
            reason, message = refused(log)
            assert reason is Reason.RECORD_REWRITTEN
            assert f"{path} does not have the hashes" in message


def test_exchanged_entries_with_tiles_made_to_fit_are_a_rewrite() -> None:
    other = [*ENTRIES]
    other[3], other[4] = other[4], other[3]
    log = Log(other)
    log.files["checkpoint"] = Log(ENTRIES).files["checkpoint"]
    assert refused(log)[0] is Reason.RECORD_REWRITTEN


def test_a_cut_end_is_a_truncation() -> None:
    log = Log(ENTRIES)
    for path in [path for path in log.files if ".p/" in path]:
        del log.files[path]
    reason, message = refused(log)
    assert reason is Reason.RECORD_TRUNCATED
    assert message == (
        f"{log.origin} lacks its entries from 512 on, and their hashes: 600 were signed. Where it was copied while it "
        "grew, copy it again"
    )


def test_a_log_that_was_cut_and_signed_again_is_a_truncation_for_who_kept_a_checkpoint() -> None:
    reason, message = refused(Log(ENTRIES[:500]), Log(ENTRIES).head)
    assert reason is Reason.RECORD_TRUNCATED
    assert "ends with entry 500; a checkpoint of 600 entries was signed before" in message


@pytest.mark.parametrize("size", [0, 1, 300, 600])
def test_a_log_with_another_history_is_a_fork_for_who_kept_a_checkpoint(size: int) -> None:
    kept = Checkpoint(Log([]).origin, size, bytes(32))
    reason, message = refused(Log(ENTRIES), kept)
    assert reason is Reason.RECORD_FORKED
    assert f"its first {size} entries are not those of a checkpoint that was signed before" in message


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("size", [0, 300, 600])
def test_of_two_checkpoints_of_one_size_none_hides_the_other(size: int, order: int) -> None:
    kept = [Checkpoint(Log([]).origin, size, bytes(32)), Log(ENTRIES[:size]).head]
    reason, message = refused(Log(ENTRIES), *kept[::order])
    assert reason is Reason.RECORD_FORKED
    assert f"its first {size} entries are not those of a checkpoint" in message


def promise(log: Log, *promised: tuple[int, bytes]) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refusal:
        verify_log(log.read, log.key, promised=promised)
    return refusal.value.reason, refusal.value.message


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("index", [0, 7, 599])
@pytest.mark.parametrize("expired", [True, False])
def test_an_entry_that_a_receipt_was_not_given_for_is_a_rewrite(index: int, order: int, expired: bool) -> None:
    log = expire(Log(ENTRIES)) if expired else Log(ENTRIES)
    promised = [(index, hash_leaf(ENTRIES[index])), (index, bytes(32))]
    reason, message = promise(log, *promised[::order])
    assert reason is Reason.RECORD_REWRITTEN
    assert f"entry {index} of {log.origin} is not the one that the receipt was given for" in message
    verify_log(log.read, log.key, promised=promised[:1])


def test_an_entry_of_a_receipt_that_is_not_here_is_a_truncation() -> None:
    log = Log(ENTRIES[:500])
    reason, message = promise(log, (500, hash_leaf(ENTRIES[500])))
    assert reason is Reason.RECORD_TRUNCATED
    assert f"{log.origin} ends with entry 500; a receipt was given for entry 500" in message


def test_a_log_verifies_with_every_checkpoint_of_before_and_shows_its_entries() -> None:
    log, seen = Log(ENTRIES), list[tuple[int, bytes]]()
    marks = [Log(ENTRIES[:size]).head for size in (0, 1, 256, 300, 600)]
    found = verify_log(log.read, log.key, marks=marks, visit=lambda index, entry: seen.append((index, entry)))
    assert seen == list(enumerate(ENTRIES))
    assert (found.checkpoint, found.expired, found.link, found.chain) == (log.head, 0, None, NAME)
    assert check(Log([])).checkpoint.size == 0


def expire(log: Log, *, keep_first: bool = True) -> Log:
    for path in [path for path in log.files if path.startswith("tile/entries")]:
        del log.files[path]
    if keep_first:
        log.files[FIRST] = log.entries[0]
    return log


def chain(*counts: int) -> list[Log]:
    logs: list[Log] = []
    for number, count in enumerate(counts):
        link = opened(logs[-1].head if logs else None)
        logs.append(Log([link, *ENTRIES[1:count]], origin=f"{NAME}/log-{number}"))
    return logs


def test_text_that_is_gone_without_a_record_of_it_is_a_truncation() -> None:
    logs = chain(300, 5)
    found = [check(expire(logs[0])), check(logs[1])]
    with pytest.raises(RefusedError) as refusal:
        verify_chains(found)
    assert refusal.value.reason is Reason.RECORD_TRUNCATED
    assert f"300 entries of {NAME}/log-0 have no text, and no record says" in refusal.value.message


def test_no_writer_says_that_retention_removed_anothers_text() -> None:
    first = chain(300)[0]
    other = Log([opened(), spell(kind="expired", log=first.origin)], origin="ledger.example/gateway-1/log-0")
    with pytest.raises(RefusedError, match="have no text, and no record says") as refusal:
        verify_chains([check(expire(first)), check(other)])
    assert refusal.value.reason is Reason.RECORD_TRUNCATED


def test_text_that_retention_removed_leaves_the_log_verified() -> None:
    first = chain(300)[0]
    note = spell(kind="expired", log=first.origin)
    second = Log([opened(first.head), note, spell(kind='no "expired"')], origin=f"{NAME}/log-1")
    found = [check(expire(first, keep_first=keep)) for keep in (True, False)]
    for log in found:
        (whole,) = verify_chains([log, check(second)])
        assert (whole.name, whole.after, whole.beginnings) == (NAME, None, 1)
        assert [item.expired for item in whole.logs] == [300, 0]
    forged = expire(chain(300, 5)[1])
    forged.files[FIRST] = opened(None)
    assert check(forged).link is None


def test_a_missing_log_is_a_truncation() -> None:
    logs = chain(3, 4, 5)
    with pytest.raises(RefusedError) as refusal:
        verify_chains([check(logs[0]), check(logs[2])])
    assert refusal.value.reason is Reason.RECORD_TRUNCATED
    assert refusal.value.message == f"the log {NAME}/log-1 is missing (4 entries); {NAME}/log-2 goes on from it"


def test_a_log_that_is_shorter_than_the_next_says_is_a_truncation() -> None:
    logs = chain(9, 4)
    short = Log(logs[0].entries[:5], origin=logs[0].origin)
    with pytest.raises(RefusedError) as refusal:
        verify_chains([check(short), check(logs[1])])
    assert refusal.value.reason is Reason.RECORD_TRUNCATED
    assert "log-0 has 5 entries;" in refusal.value.message


def test_a_log_that_went_on_after_it_was_closed_is_a_fork() -> None:
    logs = chain(9, 4)
    longer = Log([*logs[0].entries, spell(kind="x")], origin=logs[0].origin)
    with pytest.raises(RefusedError) as refusal:
        verify_chains([check(longer), check(logs[1])])
    assert refusal.value.reason is Reason.RECORD_FORKED
    assert "signed two histories" in refusal.value.message


def test_two_logs_that_go_on_from_one_are_a_fork() -> None:
    logs = chain(9, 4)
    twin = Log(logs[1].entries, origin=f"{NAME}/log-2")
    with pytest.raises(RefusedError, match=r"log-1 and .*log-2 both go on from .*log-0") as refusal:
        verify_chains([check(log) for log in (*logs, twin)])
    assert refusal.value.reason is Reason.RECORD_FORKED
    with pytest.raises(RefusedError, match="one log is here twice"):
        verify_chains([check(logs[0])] * 2)


def test_logs_verify_as_chains_with_their_beginnings_told() -> None:
    logs = chain(3, 4, 5)
    alone = Log([opened()], origin=f"{NAME}/log-3")
    other = Log([opened()], origin="other")
    whole = verify_chains([check(log) for log in (other, *reversed(logs), alone)])
    assert [(item.name, len(item.logs), item.beginnings) for item in whole] == [(NAME, 4, 2), ("other", 1, 1)]
    (later,) = verify_chains([check(log) for log in logs[1:]])
    assert later.after == logs[0].head


@pytest.mark.parametrize(
    "entry",
    [{}, {"kind": "opened"}, {"kind": "x", "previous": {}}, {"kind": "opened", "previous": {"root": "AAAA", "size": 1}},
     {"kind": "opened", "previous": {"root": "A" * 43 + "=", "size": "1"}}],
)  # fmt: skip
def test_what_is_no_link_is_none(entry: dict[str, object]) -> None:
    assert read_link(entry) is None


def test_a_writers_key_is_taken_for_its_logs_alone() -> None:
    key = log_key(NAME)
    assert name_key(key, f"{NAME}/log-0") == log_key(f"{NAME}/log-0", SECRET)
    assert name_key(key, NAME) == key
    with pytest.raises(RefusedError) as refusal:
        name_key(key, f"{NAME}1/log-0")
    assert refusal.value.reason is Reason.SIGNER_NOT_TRUSTED
