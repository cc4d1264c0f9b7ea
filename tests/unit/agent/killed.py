"""Unseal and be killed: started as a process of its own by test_killed.py, forks a child for every point of death.

Argument: a JSON object with the depot's port, the folder of everything else, the volume, and what was accepted.
"""

import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sekisho.agent import lines
from sekisho.agent.config import SealedConfig, ServerAddress
from sekisho.agent.release import KeyRequest
from sekisho.agent.transport import ServerAccess
from sekisho.agent.unseal import Order, unseal_model
from sekisho.agent.weights import WeightList, parse_weight_list, wipe_weights

WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "shutil.rmtree"}


class Keys:
    """A key source that has the key."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def ask(self, _wanted: KeyRequest) -> bytearray:
        return bytearray(self.key)


def main() -> None:
    """Die at point 1, 2, 3 and so on until none is left; after each death start anew and report what was found."""
    facts = json.loads(sys.argv[1])
    listing = parse_weight_list(facts["listing"])
    point = 1
    while True:
        wipe_weights(Path(facts["volume"]))
        died = run_child(lambda point=point: unseal_until(facts, listing, point))
        left = describe(facts)
        alive = run_child(lambda: unseal_until(facts, listing, 0))
        print(json.dumps({"point": point, "died": died, "left": left, "again": alive, "after": describe(facts)}))
        if died == 0:
            return
        point += 1


def describe(facts: dict[str, Any]) -> list[str]:
    root = Path(facts["volume"])
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def run_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        code = 3
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def unseal_until(facts: dict[str, Any], listing: WeightList, point: int) -> None:
    if point:
        die_at(point, facts["volume"])
    unseal_model(build_order(facts), listing)


def build_order(facts: dict[str, Any]) -> Order:
    folder = Path(facts["folder"])
    address = ServerAddress("127.0.0.1", facts["port"], "127.0.0.1")
    access = ServerAccess(address, token_file=folder / "token", ca_file=folder / "tls" / "ca.crt")
    keys = Keys(base64.b64decode(facts["key"]))
    return Order(access, keys, SealedConfig(**facts["told"]), Path(facts["volume"]), threading.Event())


def die_at(point: int, volume: str) -> None:
    """Count what touches the volume, in the middle of writes as well, and die at one of these moments."""
    seen, lock = [0], threading.Lock()

    def count() -> None:
        with lock:
            seen[0] += 1
            if seen[0] == point:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, words: tuple[Any, ...]) -> None:
        if event in WATCHED and any(str(word).startswith(volume) for word in words):
            count()

    def write_in_parts(out: Any, view: memoryview) -> None:
        half = len(view) // 2
        out.write(view[:half])
        count()
        out.write(view[half:])
        count()

    lines._write_whole = write_in_parts
    sys.addaudithook(audit)


if __name__ == "__main__":
    main()
