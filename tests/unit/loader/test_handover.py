import base64
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.loader.handover import (
    MAX_BYTES,
    Handover,
    fetch_file_keys,
    hand_over_on_demand,
    open_handed_over,
    serve_file_keys,
)
from sekisho.loader.opening import derive_keys, read_file
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.facts import MANIFEST_NAME
from sekisho.seal.manifest import digest_of
from tests.unit.loader.sealed_folders import write
from tests.unit.seal.sealing import KEY, Sealed, seal

DIGEST = digest_of(b"a manifest")


def make_handover(sealed: Sealed | None = None) -> Handover:
    if sealed is None:
        return Handover(DIGEST, {"model.safetensors": bytearray(range(32))})
    keys = derive_keys(KEY, sealed.manifest)
    return Handover(digest_of(sealed.blobs[MANIFEST_NAME]), {path: bytearray(key) for path, key in keys.items()})


@contextmanager
def serving(place: Path, handover: Handover, **options: Any) -> Iterator[list[int]]:
    """Serve in a thread; the list gets how many were answered once it ends."""
    answered: list[int] = []
    thread = threading.Thread(
        target=lambda: answered.append(serve_file_keys(place, handover, **{"seconds": 60, **options}))
    )
    thread.start()
    yield answered
    thread.join()


def test_keys_go_from_agent_to_engine_and_are_wiped_after_the_last(tmp_path: Path) -> None:
    handover = make_handover()
    key = handover.keys["model.safetensors"]
    with serving(tmp_path / "keys", handover, times=2) as answered:
        for _ in range(2):
            found = fetch_file_keys(tmp_path / "keys", seconds=60)
            assert found.manifest_digest == DIGEST
            assert found.keys == {"model.safetensors": bytearray(range(32))}
    assert answered == [2]
    assert not any(key)
    assert not handover.keys
    assert not (tmp_path / "keys").exists()


def test_an_engine_that_starts_first_waits_for_the_agent(tmp_path: Path) -> None:
    found: list[Handover] = []
    waiting = threading.Thread(target=lambda: found.append(fetch_file_keys(tmp_path / "keys", seconds=60)))
    waiting.start()
    time.sleep(0.2)
    with serving(tmp_path / "keys", make_handover()):
        waiting.join()
    assert len(found) == 1


def test_only_its_owner_may_connect_and_nobody_else_is_answered(tmp_path: Path) -> None:
    handover = make_handover()
    with serving(tmp_path / "keys", handover, seconds=2, user=os.getuid() + 1) as answered:
        with pytest.raises(UnavailableError, match=r"no keys were handed over at .*/keys within 0.3 s") as caught:
            fetch_file_keys(tmp_path / "keys", seconds=0.3)
        assert caught.value.reason is Reason.WEIGHTS_PENDING
        assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    assert answered == [0]
    assert not handover.keys, "wiped though nobody had them"


def test_without_an_agent_the_engine_says_what_it_waited_for(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="the agent's log tells what it waits for"):
        fetch_file_keys(tmp_path / "none", seconds=0)


def test_a_socket_that_an_earlier_agent_left_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "keys"))
    with serving(tmp_path / "keys", make_handover()):
        assert fetch_file_keys(tmp_path / "keys", seconds=60).keys
    (tmp_path / "file").write_text("")
    handover = make_handover()
    with pytest.raises(RefusedError, match="is there and is no socket; name another place") as caught:
        serve_file_keys(tmp_path / "file", handover, seconds=1)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert not handover.keys


def spell(**changes: object) -> bytes:
    keys = {"a": base64.b64encode(bytes(32)).decode()}
    return encode_canonical({"format": "sekisho-handover-v1", "keys": keys, "manifestDigest": DIGEST} | changes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (spell()[:-1], "is not JSON"),
        (spell() + b" ", "is not spelt canonically"),
        (spell(more=1), 'has the field "more"'),
        (spell(format="sekisho-handover-v2"), "agent and engine must be of one version"),
        (spell(keys={}), "are not an object with 1 to 8192 keys"),
        (spell(keys=["a"]), "are not an object with 1 to 8192 keys"),
        (spell(keys={str(n): "" for n in range(8193)}), "are not an object with 1 to 8192 keys"),
        (spell(keys={"a": 1}), "text is needed"),
        (spell(keys={"a": "!"}), "is not base64"),
        (spell(keys={"a": base64.b64encode(bytes(16)).decode()}), 'for "a" has 16 bytes, 32 are needed'),
        (spell(keys={"a": base64.b64encode(bytes(33)).decode()}), "is not base64 of 1 to 32 bytes"),
        (spell(manifestDigest="sha256:abc"), "is not spelt as this format asks"),
        (b" " * (MAX_BYTES + 1), "16777216 are allowed"),
    ],
)
def test_what_is_not_spelt_as_it_must_be_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        Handover.parse(data)
    assert caught.value.reason in {Reason.SEAL_INVALID, Reason.KEY_MISMATCH}
    assert base64.b64encode(bytes(32)).decode() not in str(caught.value)


def test_a_sender_without_end_is_cut_off(tmp_path: Path) -> None:
    def send() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                while True:
                    connection.sendall(bytes(1 << 20))
            except OSError:
                pass

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "keys"))
        listener.listen(1)
        thread = threading.Thread(target=send)
        thread.start()
        with pytest.raises(RefusedError, match="has more than 16777216 bytes") as caught:
            fetch_file_keys(tmp_path / "keys", seconds=60)
        thread.join()
    assert caught.value.reason is Reason.SEAL_INVALID


def test_what_was_handed_over_opens_the_folder_whose_manifest_was_verified(tmp_path: Path) -> None:
    sealed = seal()
    model = open_handed_over(write(sealed, tmp_path), make_handover(sealed))
    with read_file(model, "config.json") as region:
        assert bytes(region.view) == b'{"layers":2}'


def test_another_manifest_than_the_verified_one_is_refused(tmp_path: Path) -> None:
    sealed, other = seal(), seal({"config.json": (b"{}",)})
    write(other, tmp_path)
    with pytest.raises(
        RefusedError, match=f"{MANIFEST_NAME} has digest sha256:.*, the one that was verified"
    ) as caught:
        open_handed_over(tmp_path, make_handover(sealed))
    assert caught.value.reason is Reason.SEAL_BROKEN


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RefusedError, match="cannot be read: No such file or directory; fetch the model again"
    ) as caught:
        open_handed_over(tmp_path, make_handover())
    assert caught.value.reason is Reason.SEAL_BROKEN


def test_keys_are_not_shown() -> None:
    assert "keys" not in repr(make_handover())


def connect_soon(caller: socket.socket, place: Path) -> None:
    """Connect to a socket whose file is there, and which may listen a moment later."""
    until = time.monotonic() + 60
    while True:
        try:
            return caller.connect(str(place))
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


@contextmanager
def on_demand(place: Path, bring: Any, **options: Any) -> Iterator[threading.Event]:
    """Hand over in a thread until the block ends."""
    over = threading.Event()
    thread = threading.Thread(
        target=lambda: hand_over_on_demand(place, bring, **{"is_over": over.is_set, **options}), daemon=True
    )
    thread.start()
    while not place.exists():
        time.sleep(0.01)
    yield over
    over.set()
    thread.join()
    assert not place.exists()


def test_each_process_has_its_keys_brought_anew_and_wiped_at_once(tmp_path: Path) -> None:
    brought: list[Handover] = []

    def bring() -> Handover:
        brought.append(make_handover())
        return brought[-1]

    with on_demand(tmp_path / "keys", bring):
        for _ in range(3):
            assert fetch_file_keys(tmp_path / "keys", seconds=60).keys == {"model.safetensors": bytearray(range(32))}
    assert len(brought) == 3
    assert not any(handover.keys for handover in brought)


def test_nothing_is_brought_for_another_user(tmp_path: Path) -> None:
    brought: list[Handover] = []
    keys = tmp_path / "keys"
    with (
        on_demand(keys, lambda: brought.append(make_handover()), user=os.getuid() + 1),
        pytest.raises(UnavailableError, match="no keys were handed over"),
    ):
        fetch_file_keys(keys, seconds=0.3)
    assert brought == []


def test_keys_that_cannot_be_had_now_are_asked_for_again_by_who_waits(tmp_path: Path) -> None:
    answers = [None, None, make_handover()]
    with on_demand(tmp_path / "keys", lambda: answers.pop(0)):
        assert fetch_file_keys(tmp_path / "keys", seconds=60).keys
    assert answers == []


def test_what_was_brought_too_late_is_wiped_and_not_sent(tmp_path: Path) -> None:
    handover = make_handover()
    key = handover.keys["model.safetensors"]

    def bring() -> Handover:
        over.set()
        return handover

    with on_demand(tmp_path / "keys", bring) as over, socket.socket(socket.AF_UNIX) as engine:
        engine.settimeout(60)
        connect_soon(engine, tmp_path / "keys")
        assert engine.recv(1) == b""
    assert not any(key)


@pytest.mark.slow
def test_who_goes_away_before_the_answer_harms_nobody(tmp_path: Path) -> None:
    brought: list[Handover] = []

    def bring() -> Handover:
        time.sleep(0.2)
        brought.append(make_handover())
        return brought[-1]

    with on_demand(tmp_path / "keys", bring):
        with socket.socket(socket.AF_UNIX) as hasty:
            connect_soon(hasty, tmp_path / "keys")
        assert fetch_file_keys(tmp_path / "keys", seconds=60).keys
    assert not any(handover.keys for handover in brought)
