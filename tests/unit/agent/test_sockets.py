"""Who talks to the engine, by the table of connections that agent and engine share."""

import socket
from pathlib import Path

import pytest

from sekisho.agent.sockets import has_callers, is_listening


def test_anything_listens_or_nothing_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert is_listening(port)
    assert not is_listening(port)


HEAD = "  sl  local_address rem_address   st tx_queue\n"
LINE = "   0: {local}:{port:04X} {remote}:C350 {state} 00000000:00000000 00:00000000 00000000\n"


@pytest.mark.parametrize(
    ("table", "line", "found"),
    [
        ("tcp", LINE.format(local="0500080A", port=8080, remote="0700080A", state="01"), True),
        ("tcp", LINE.format(local="0500080A", port=8080, remote="0700080A", state="06"), False),
        ("tcp", LINE.format(local="0500080A", port=8081, remote="0700080A", state="01"), False),
        ("tcp", LINE.format(local="0100007F", port=8080, remote="0100007F", state="01"), False),
        ("tcp6", LINE.format(local="0" * 32, port=8080, remote="0" * 24 + "01000000", state="01"), False),
        ("tcp6", LINE.format(local="0" * 32, port=8080, remote="0" * 16 + "FFFF00000100007F", state="01"), False),
        ("tcp6", LINE.format(local="0" * 32, port=8080, remote="0" * 16 + "FFFF00000700080A", state="01"), True),
        ("tcp6", LINE.format(local="0" * 32, port=8080, remote="B80D0120" + "0" * 23 + "1", state="01"), True),
        ("tcp", "garbage\n", False),
    ],
)
def test_callers_from_outside_are_seen_in_the_pods_own_table(
    tmp_path: Path, table: str, line: str, found: bool
) -> None:
    (tmp_path / "tcp").write_text(HEAD)
    (tmp_path / table).write_text(HEAD + line)
    assert has_callers(8080, tables=tmp_path) is found


def test_a_table_that_cannot_be_read_counts_as_callers(tmp_path: Path) -> None:
    assert has_callers(8080, tables=tmp_path)
