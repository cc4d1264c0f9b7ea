"""Event logs: parsed in bounds, replayed as hardware extends."""

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.eventlog import (
    MAX_AREA_BYTES,
    MAX_EVENTS,
    MAX_LOG_BYTES,
    RUNTIME_EVENT,
    LoggedEvent,
    digest_runtime_event,
    parse_dstack_log,
    parse_tcg_log,
    replay_pcrs,
    replay_rtmrs,
    trim_padding,
)
from sekisho.errors import Reason, RefusedError
from tests.unit.fuzz import JSON, MIB, attempt, changed, measure_peak

SHA1, SHA256, SHA384, SHA512, SM3, OWN = 4, 11, 12, 13, 18, 0x1234
SIZES = {SHA1: 20, SHA256: 32, SHA384: 48, SHA512: 64, SM3: 32, OWN: 16}
SEPARATOR, NO_ACTION = 4, 3


def header(
    algorithms: Sequence[tuple[int, int]],
    *,
    name: bytes = b"Spec ID Event03\0",
    kind: int = NO_ACTION,
    register: int = 0,
) -> bytes:
    data = name + struct.pack("<IBBBB", 0, 0, 2, 0, 2) + struct.pack("<I", len(algorithms))
    data += b"".join(struct.pack("<HH", *each) for each in algorithms) + b"\0"
    return struct.pack("<II20sI", register, kind, bytes(20), len(data)) + data


def event(register: int, kind: int, digests: Sequence[tuple[int, bytes]], data: bytes = b"") -> bytes:
    told = b"".join(struct.pack("<H", identifier) + digest for identifier, digest in digests)
    return struct.pack("<III", register, kind, len(digests)) + told + struct.pack("<I", len(data)) + data


def digest_of(algorithm: int, text: bytes) -> tuple[int, bytes]:
    return algorithm, hashlib.sha512(text).digest()[: SIZES[algorithm]]


HEAD = header([(SHA256, 32), (SHA384, 48)])
FIRST = event(0, SEPARATOR, [digest_of(SHA256, b"a"), digest_of(SHA384, b"a")], b"first")
SECOND = event(7, 0x80000001, [digest_of(SHA256, b"b"), digest_of(SHA384, b"b")], b"second")
LOG = HEAD + FIRST + SECOND


def refusal(act: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    return caught.value.message


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (bytes(MAX_AREA_BYTES + 1), "the event log has 4194305 bytes, 4194304 allowed"),
        (b"\1" * (MAX_LOG_BYTES + 1) + b"\xff", "the event log has 524289 bytes before its padding, 524288 allowed"),
        (b"", "the event log has 0 bytes and ends within 4 that begin at byte 0"),
        (header([(SHA256, 32)], name=b"Spec ID Event02\0"), "does not begin with a specification event"),
        (header([(SHA256, 32)], kind=SEPARATOR), "does not begin with a specification event"),
        (header([]), "the event log names 0 algorithms, 1 to 8 allowed"),
        (header([(OWN + n, 16) for n in range(9)]), "the event log names 9 algorithms, 1 to 8 allowed"),
        (header([(SHA256, 20)]), "the event log gives algorithm 11 digests of 20 bytes"),
        (header([(OWN, 0)]), "the event log gives algorithm 4660 digests of 0 bytes"),
        (header([(OWN, 65)]), "the event log gives algorithm 4660 digests of 65 bytes"),
        (HEAD + event(24, SEPARATOR, []), "the event log speaks of register 24, the last is 23"),
        (HEAD + event(1, SEPARATOR, [digest_of(SHA256, b"")] * 3), "has an event with 3 digests, 2 algorithms were"),
        (HEAD + event(1, SEPARATOR, [digest_of(SHA1, b"")]), "the event log uses algorithm 4, which it did not name"),
        (HEAD + event(1, SEPARATOR, [digest_of(SHA256, b"")] * 2), "has an event with two digests by sha256"),
        (HEAD + FIRST * (MAX_EVENTS + 1), "before its padding, 524288 allowed"),
        (header([(SM3, 32)]) + event(1, 1, []) * (MAX_EVENTS + 1), "the event log has more than 8192 events"),
        (HEAD + FIRST + b"\1", "the event log has 175 bytes and ends within 4 that begin at byte 174"),
    ],
)
def test_what_is_no_log_is_refused_by_name(log: bytes, message: str) -> None:
    assert message in refusal(lambda: parse_tcg_log(log))


def test_a_log_cut_within_an_event_is_refused_at_every_length() -> None:
    whole = parse_tcg_log(LOG)
    for length in range(len(LOG)):
        cut = attempt(lambda length=length: parse_tcg_log(LOG[:length]))
        assert isinstance(cut, RefusedError) or cut in ((), whole[:1]), length


def test_a_log_is_read_and_padding_after_it_is_not() -> None:
    first, second = parse_tcg_log(LOG)
    assert (first.register, first.kind, first.data) == (0, SEPARATOR, b"first")
    assert first.digests == (("sha256", digest_of(SHA256, b"a")[1]), ("sha384", digest_of(SHA384, b"a")[1]))
    assert second.digest("sha384") == digest_of(SHA384, b"b")[1]
    assert second.digest("sha512") is None
    assert second.kind == 0x80000001
    assert parse_tcg_log(header([(SHA256, 32), (SHA384, 48)], register=1) + FIRST) == (first,)
    assert parse_tcg_log(LOG + bytes(1000)) == parse_tcg_log(LOG + b"\xff" * 1000) == (first, second)
    assert parse_tcg_log(HEAD + event(1, 1, [], bytes(8)) + bytes(3)) == (LoggedEvent(1, 1, (), bytes(8)),)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b"\xff" * 20 + b"x", "the event log speaks of register 4294967295, the last is 23"),
        (bytes(20) + b"x", "the event log has 195 bytes and ends within 4 that begin at byte 194"),
        (b"\xff" * 20 + bytes(20), "the event log speaks of register 4294967295, the last is 23"),
    ],
    ids=["a letter after ones", "a letter after zeros", "zeros after ones"],
)
def test_what_follows_the_last_event_is_padding_only_if_it_is_all_zeros_or_all_ones(tail: bytes, message: str) -> None:
    assert refusal(lambda: parse_tcg_log(LOG[: -len(SECOND)] + tail)) == message


def test_an_event_of_almost_nothing_is_no_padding() -> None:
    (_, last) = parse_tcg_log(HEAD + FIRST + event(0, ord("x"), []) + bytes(40))
    assert (last.register, last.kind) == (0, ord("x"))


def test_algorithms_of_any_name_are_read() -> None:
    log = header([(SM3, 32), (OWN, 16)]) + event(1, 1, [digest_of(OWN, b"a"), digest_of(SM3, b"a")])
    (one,) = parse_tcg_log(log)
    assert [name for name, _ in one.digests] == ["0x1234", "sm3"]
    log = header([(SHA1, 20), (SHA512, 64)]) + event(1, 1, [digest_of(SHA1, b"a"), digest_of(SHA512, b"a")])
    (one,) = parse_tcg_log(log)
    assert one.digests == (("sha1", digest_of(SHA1, b"a")[1]), ("sha512", digest_of(SHA512, b"a")[1]))
    assert set(replay_pcrs([one], "sha1")) == set(replay_pcrs([one], "sha512")) == {1}


def test_as_many_algorithms_of_as_few_bytes_and_registers_as_high_as_allowed_are_read() -> None:
    log = header([(OWN + n, 1 + n % 2 * 63) for n in range(8)]) + event(23, 1, [(OWN, b"d"), (OWN + 1, b"e" * 64)])
    (one,) = parse_tcg_log(log)
    assert (one.register, one.digests) == (23, (("0x1234", b"d"), ("0x1235", b"e" * 64)))


def test_fields_of_dstack_may_be_as_large_as_allowed() -> None:
    every = "0123456789abcdefABCDEF"
    value = {**GOOD, "imr": 0, "event_type": 0xFFFFFFFF, "event": "x" * 256, "event_payload": every}
    (one,) = parse_dstack_log(json.dumps([value]).encode())
    assert (one.register, one.kind, one.name, one.data) == (1, 0xFFFFFFFF, "", bytes.fromhex(every))
    (one,) = parse_dstack_log(json.dumps([{**value, "event_type": 0}]).encode())
    assert one.kind == 0
    assert len(parse_dstack_log(b"[" + b",".join([json.dumps(GOOD).replace(" ", "").encode()] * 2000) + b"]")) == 2000


def test_a_log_may_be_as_long_as_allowed() -> None:
    assert len(parse_tcg_log(LOG + bytes(MAX_AREA_BYTES - len(LOG)))) == 2
    log = json.dumps([GOOD]).encode()
    assert len(parse_dstack_log(log + b" " * (MAX_LOG_BYTES - len(log)))) == 1


def test_events_may_fill_as_much_as_is_allowed_before_the_padding() -> None:
    room = MAX_LOG_BYTES - len(HEAD) - len(event(1, SEPARATOR, []))
    assert len(parse_tcg_log(HEAD + event(1, SEPARATOR, [], b"d" * room) + bytes(9))) == 1
    message = refusal(lambda: parse_tcg_log(HEAD + event(1, SEPARATOR, [], b"d" * (room + 1)) + bytes(9)))
    assert message == "the event log has 524289 bytes before its padding, 524288 allowed"


@pytest.mark.parametrize("padding", [b"\0", b"\xff"])
@pytest.mark.parametrize(
    "last", [b"\0" * 4, b"\xff" * 4, b"data", b"x" * 5000], ids=["zeros", "ones", "a word", "many letters"]
)
def test_a_log_without_the_padding_of_its_area_tells_the_same(padding: bytes, last: bytes) -> None:
    log = HEAD + FIRST + event(1, SEPARATOR, [], last)
    trimmed = trim_padding(log + padding * (1 << 20))
    assert len(trimmed) <= len(log) + 4096
    assert parse_tcg_log(trimmed) == parse_tcg_log(log)
    assert trim_padding(log) == log


def test_an_event_that_extends_nothing_may_name_any_register() -> None:
    (one,) = parse_tcg_log(HEAD + event(0xFFFFFFFF, NO_ACTION, [], b"note"))
    assert replay_pcrs([one], "sha256") == {}


def extend(algorithm: str, *parts: bytes, start: bytes | None = None) -> bytes:
    value = bytes(hashlib.new(algorithm).digest_size) if start is None else start
    for part in parts:
        value = hashlib.new(algorithm, value + part).digest()
    return value


@pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
def test_replay_extends_each_register_in_order(algorithm: str) -> None:
    identifier = {"sha256": SHA256, "sha384": SHA384}[algorithm]
    events = parse_tcg_log(LOG + FIRST)
    a, b = digest_of(identifier, b"a")[1], digest_of(identifier, b"b")[1]
    assert replay_pcrs(events, algorithm) == {0: extend(algorithm, a, a), 7: extend(algorithm, b)}


def test_registers_of_a_late_launch_start_with_all_bits_set() -> None:
    for register in (16, 17, 22, 23):
        one = LoggedEvent(register, 1, (("sha256", b"d" * 32),), b"")
        start = b"\xff" * 32 if register in (17, 22) else bytes(32)
        assert replay_pcrs([one], "sha256") == {register: extend("sha256", b"d" * 32, start=start)}


def locality(value: bytes, register: int = 0) -> LoggedEvent:
    return LoggedEvent(register, NO_ACTION, (), b"StartupLocality\0" + value)


def test_register_0_starts_at_the_locality_that_the_log_tells() -> None:
    one = LoggedEvent(0, 1, (("sha256", b"d" * 32),), b"")
    assert replay_pcrs([locality(b"\3")], "sha256") == {0: bytes(31) + b"\3"}
    assert replay_pcrs([locality(b"\3"), one], "sha256") == {0: extend("sha256", b"d" * 32, start=bytes(31) + b"\3")}
    for other in (
        locality(b"\3", register=1),
        locality(b""),
        locality(b"\3\3"),
        LoggedEvent(0, NO_ACTION, (), b"x" * 17),
    ):
        assert replay_pcrs([other, one], "sha256") == {0: extend("sha256", b"d" * 32)}


@pytest.mark.parametrize(
    ("events", "algorithm", "message"),
    [
        ([LoggedEvent(3, 1, (), b"")], "sha256", "has an event of register 3 without a digest by sha256"),
        ([LoggedEvent(3, 1, (("sha1", b"d" * 20),), b"")], "sha256", "event of register 3 without a digest by sha256"),
        (
            [LoggedEvent(3, 1, (("sha256", b"d" * 20),), b"")],
            "sha256",
            "event of register 3 without a digest by sha256",
        ),
        ([], "sm3", "the event log cannot be replayed with sm3"),
        ([], "md5", "the event log cannot be replayed with md5"),
        (
            [LoggedEvent(0, 1, (("sha256", b"d" * 32),), b""), locality(b"\3")],
            "sha256",
            "the event log tells the locality of the start after PCR 0 was extended",
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused(events: list[LoggedEvent], algorithm: str, message: str) -> None:
    assert message in refusal(lambda: replay_pcrs(events, algorithm))


def measured(register: int, digest: bytes = b"d" * 48) -> LoggedEvent:
    return LoggedEvent(register, 1, (("sha384", digest),), b"")


def test_rtmrs_are_numbered_from_one_in_a_log() -> None:
    events = [measured(1), measured(4, b"e" * 48), locality(b"\3"), measured(1)]
    assert replay_rtmrs(events) == (
        ("rtmr0", extend("sha384", b"d" * 48, b"d" * 48)),
        ("rtmr1", bytes(48)),
        ("rtmr2", bytes(48)),
        ("rtmr3", extend("sha384", b"e" * 48)),
    )


@pytest.mark.parametrize("register", [0, 5])
def test_a_register_that_a_trust_domain_has_not_is_refused(register: int) -> None:
    message = refusal(lambda: replay_rtmrs([measured(register)]))
    assert message == f"the event log extends register {register}; a trust domain has 1 to 4"


GOOD = {"imr": 3, "event_type": 1, "digest": "0d" * 48, "event": "", "event_payload": "AbcD"}
RUNTIME = {
    "imr": 3,
    "event_type": RUNTIME_EVENT,
    "digest": digest_runtime_event("app-id", b"\1\2").hex(),
    "event": "app-id",
    "event_payload": "0102",
}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "the event log is not a list of at most 8192 events"),
        ([GOOD] * (MAX_EVENTS + 1), "the event log has"),
        ([0] * (MAX_EVENTS + 1), "the event log is not a list of at most 8192 events"),
        ([0] * MAX_EVENTS, "has an event that is not an object with digest, event, event_payload, event_type, imr"),
        (["text"], "has an event that is not an object with digest, event, event_payload, event_type, imr"),
        ([{k: v for k, v in GOOD.items() if k != "imr"}], "has an event that is not an object with digest, event"),
        ([{**GOOD, "imr": 4}], "has an event whose imr is not 0 to 3"),
        ([{**GOOD, "imr": -1}], "has an event whose imr is not 0 to 3"),
        ([{**GOOD, "imr": True}], "has an event whose imr is not 0 to 3"),
        ([{**GOOD, "event_type": 1 << 32}], "has an event whose event_type is not a number of 32 bits"),
        ([{**GOOD, "event_type": -1}], "has an event whose event_type is not a number of 32 bits"),
        ([{**GOOD, "event_type": "1"}], "has an event whose event_type is not a number of 32 bits"),
        ([{**GOOD, "event": 1}], "has an event whose name is not text of at most 256 characters"),
        ([{**GOOD, "event": "x" * 257}], "has an event whose name is not text of at most 256 characters"),
        ([{**GOOD, "digest": "0d" * 32}], "has an event whose digest has 32 bytes, not 48"),
        ([{**GOOD, "digest": "0"}], "has an event whose digest is not hexadecimal"),
        ([{**GOOD, "digest": None}], "has an event whose digest is not hexadecimal"),
        ([{**RUNTIME, "event": "\ud800"}], r"an event '\ud800' whose digest is not that of its name and payload"),
        ([{**GOOD, "event_payload": "XX"}], "has an event whose event_payload is not hexadecimal"),
        ([{**GOOD, "event_payload": "0x0x"}], "has an event whose event_payload is not hexadecimal"),
        ([{**GOOD, "event_payload": "0 0 "}], "has an event whose event_payload is not hexadecimal"),
        ([{**RUNTIME, "event": "app"}], "an event 'app' whose digest is not that of its name and payload"),
        ([{**RUNTIME, "event_payload": "0103"}], "an event 'app-id' whose digest is not that of its name and payload"),
    ],
)
def test_what_is_no_log_of_dstack_is_refused_by_name(value: object, message: str) -> None:
    assert message in refusal(lambda: parse_dstack_log(json.dumps(value).encode()))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (b"[", "the event log is not JSON"),
        (b"\xff", "the event log is not JSON"),
        (b"[" * 200_000, "the event log is not JSON"),
        (b" " * (MAX_LOG_BYTES + 1), "the event log has 524289 bytes, 524288 allowed"),
    ],
)
def test_what_is_no_json_is_refused(log: bytes, message: str) -> None:
    assert refusal(lambda: parse_dstack_log(log)) == message


def test_a_log_of_dstack_is_read_in_the_numbering_of_the_other() -> None:
    log = json.dumps([GOOD, RUNTIME, {**GOOD, "imr": 0}]).encode()
    first, second, third = parse_dstack_log(log)
    assert first == LoggedEvent(4, 1, (("sha384", b"\x0d" * 48),), b"\xab\xcd")
    assert (second.name, second.data) == ("app-id", b"\1\2")
    assert third.register == 1
    assert dict(replay_rtmrs([first, second, third]))["rtmr3"] == extend(
        "sha384", b"\x0d" * 48, hashlib.sha384(b"\x01\x00\x00\x08:app-id:\x01\x02").digest()
    )


@settings(max_examples=150)
@given(changed(LOG))
def test_any_bytes_are_read_or_refused_in_bounds(log: bytes) -> None:
    answer, peak = measure_peak(lambda: parse_tcg_log(log))
    assert isinstance(answer, tuple | RefusedError)
    assert peak < MIB


@pytest.mark.slow
@settings(max_examples=100)
@given(st.lists(JSON | st.builds(lambda more: {**GOOD, **more}, st.dictionaries(st.sampled_from([*GOOD]), JSON))))
def test_any_json_is_read_or_refused(value: list[Any]) -> None:
    answer = attempt(lambda: parse_dstack_log(json.dumps(value).encode()))
    assert isinstance(answer, tuple | RefusedError)
