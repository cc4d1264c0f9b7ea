"""A key that passes to the next: forged successors first."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import countersign
from sekisho.ledger.handover import LAST, describe_handover, find_successor, read_handover
from sekisho.ledger.merkle import hash_leaf
from sekisho.ledger.notes import NoteKey
from sekisho.ledger.tiles import encode_bundle
from sekisho.ledger.verify import verify_chains, verify_log
from tests.unit.ledger.trees import SECRET, Log, log_key, opened, spell, witness_key

WRITER = "ledger.example/gateway-0"
FIRST_LOG, SECOND_LOG = f"{WRITER}/20261001T000000000Z", f"{WRITER}/20261002T000000000Z"
NEW, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes(range(at, at + 32))) for at in (2, 3))


def writer_key(secret: Ed25519PrivateKey) -> NoteKey:
    return log_key(WRITER, secret)


def handover(secret: Ed25519PrivateKey = NEW) -> bytes:
    return spell(**describe_handover(writer_key(secret)))


def closed(*entries: bytes, consent: Ed25519PrivateKey | None = NEW) -> Log:
    log = Log([opened(), *(entries or (spell(n=1), handover()))], origin=FIRST_LOG)
    if consent is not None:
        log.files["checkpoint"] = countersign(log.files["checkpoint"], log_key(FIRST_LOG, consent), consent.sign)
    return log


def follow(before: Log, secret: Ed25519PrivateKey) -> Log:
    return Log([opened(before.head), spell(n=2)], origin=SECOND_LOG, secret=secret)


def expire(log: Log, *, last: bool) -> None:
    for path in [path for path in log.files if "entries" in path]:
        del log.files[path]
    log.files["first"] = log.entries[0]
    if last:
        log.files[LAST] = log.entries[-1]


def refuse_chain(*logs: Log) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refused:
        verify_chains([verify_log(log.read, log.key) for log in logs])
    return refused.value.reason, refused.value.message


def test_a_successor_whom_the_log_does_not_name_is_refused() -> None:
    before = closed()
    reason, message = refuse_chain(before, follow(before, OTHER))
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert message == (
        f"{SECOND_LOG} is signed by {writer_key(OTHER).id.hex()} and goes on from {FIRST_LOG}, which was handed over "
        f"to {writer_key(NEW).id.hex()}"
    )


def test_the_old_key_signs_nothing_after_it_handed_over() -> None:
    before = closed()
    assert refuse_chain(before, follow(before, SECRET))[0] is Reason.SIGNER_NOT_TRUSTED


def test_a_key_that_changes_without_being_handed_over_is_refused() -> None:
    before = Log([opened(), spell(n=1)], origin=FIRST_LOG)
    reason, message = refuse_chain(before, follow(before, NEW))
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert message.endswith(f"goes on from {FIRST_LOG}, which was handed over to no other")


def test_a_log_that_goes_on_behind_its_end_is_a_fork() -> None:
    log = closed(handover(), spell(n=1))
    with pytest.raises(RefusedError) as refused:
        verify_log(log.read, log.key)
    assert refused.value.reason is Reason.RECORD_FORKED
    assert "goes on behind entry 1, which ended it and handed it over to another key" in refused.value.message


@pytest.mark.parametrize("read", [verify_log, find_successor])
def test_a_key_that_did_not_sign_the_end_is_no_successor(read: Any) -> None:
    for consent in (None, OTHER):
        log = closed(consent=consent)
        with pytest.raises(RefusedError) as refused:
            read(log.read, log.key)
        assert refused.value.reason is Reason.SIGNATURE_MISSING
        assert f"the end of {FIRST_LOG} is not signed by the key that it is handed over to" in refused.value.message


def test_a_signature_that_only_says_it_is_the_successors_is_refused() -> None:
    log = closed(consent=None)
    log.files["checkpoint"] = countersign(log.files["checkpoint"], log_key(FIRST_LOG, NEW), OTHER.sign)
    with pytest.raises(RefusedError) as refused:
        find_successor(log.read, log.key)
    assert refused.value.reason is Reason.SIGNATURE_INVALID


def test_a_last_entry_that_was_put_there_later_names_nobody() -> None:
    log = closed(spell(n=1), spell(n=2), consent=OTHER)
    log.files["tile/entries/000.p/3"] = encode_bundle([opened(), spell(n=1), handover(OTHER)])
    with pytest.raises(RefusedError) as refused:
        find_successor(log.read, log.key)
    assert refused.value.reason is Reason.RECORD_BROKEN
    assert "the proof does not lead from entry 2 to the root of 3 entries" in refused.value.message
    log.files["tile/0/000.p/3"] = log.files["tile/0/000.p/3"][:-32] + hash_leaf(handover(OTHER))
    with pytest.raises(RefusedError, match="the proof does not lead from entry 2"):
        find_successor(log.read, log.key)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("nonsense", f"{FIRST_LOG} is handed over to no key: a verifier key reads NAME+ID+KEY"),
        (log_key("ledger.example/gateway-1", NEW).encode(), "to ledger.example/gateway-1, which is not its writer"),
        (witness_key(WRITER, NEW).encode(), f"is handed over to {WRITER}, which is not its writer"),
    ],
)
def test_an_entry_that_names_no_key_of_this_writer_is_refused(key: str, says: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_handover(spell(kind="handover", key=key), origin=FIRST_LOG)
    assert refused.value.reason is Reason.RECORD_BROKEN
    assert says in refused.value.message


@pytest.mark.parametrize("entry", [b"", b'"handover"', spell(kind="request", model="handover"), opened()])
def test_other_entries_hand_nothing_over(entry: bytes) -> None:
    assert read_handover(entry, origin=FIRST_LOG) is None


def test_a_successor_is_known_by_the_log_before_and_the_chain_holds() -> None:
    before = closed()
    after = follow(before, NEW)
    assert find_successor(before.read, before.key) == writer_key(NEW)
    assert find_successor(after.read, after.key) is None
    assert find_successor(Log([], origin=FIRST_LOG).read, before.key) is None
    (chain,) = verify_chains([verify_log(log.read, log.key) for log in (before, after)])
    assert [log.next_key for log in chain.logs] == [writer_key(NEW)] * 2


def test_a_successor_outlives_the_text_of_the_log_before() -> None:
    before = closed()
    expire(before, last=True)
    assert find_successor(before.read, before.key) == writer_key(NEW)
    verified = verify_log(before.read, before.key)
    assert (verified.successor, verified.end_known) == (writer_key(NEW), True)


def test_where_the_text_is_gone_a_trusted_key_may_follow() -> None:
    before = closed()
    expire(before, last=False)
    assert find_successor(before.read, before.key) is None
    note = spell(kind="expired", log=FIRST_LOG)
    after = Log([opened(before.head), note], origin=SECOND_LOG, secret=NEW)
    (chain,) = verify_chains([verify_log(log.read, log.key) for log in (before, after)])
    assert [log.end_known for log in chain.logs] == [False, True]
