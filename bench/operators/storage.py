"""Takes namespaces out of the control plane's storage: through the API their end costs as much as their beginning."""

import base64
import json
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from e2e.cluster.control_plane import ETCD_CLIENT
from e2e.cluster.netns import NetworkNamespace

ROOT: Final = "/registry/"
_SECONDS: Final = 60.0
T = TypeVar("T")


def find_prefixes(keys: Iterable[str], namespaces: Iterable[str]) -> list[str]:
    """Return the beginnings of keys, one for each kind and namespace, that hold all that is in the namespaces."""
    wanted = set(namespaces)
    found = set()
    for key in keys:
        parts = key.split("/")
        # A name may be a namespace's too; what follows the namespace in a key is at least a name.
        for index in range(3, len(parts) - 1):
            if parts[index] in wanted:
                found.add("/".join(parts[: index + 1]) + "/")
                break
    return sorted(found)


class Storage:
    """The etcd of a control plane, which only its network namespace reaches."""

    def __init__(self, place: NetworkNamespace) -> None:
        self._place = place

    def list_keys(self, prefix: str = ROOT) -> list[str]:
        """Return the keys that begin so."""
        answer = self._inside(lambda: _ask("range", {**_range_of(prefix), "keys_only": True}))
        return [base64.b64decode(item["key"]).decode() for item in answer.get("kvs", ())]

    def delete(self, *, prefixes: Iterable[str] = (), keys: Iterable[str] = ()) -> int:
        """Remove all keys that begin so, and single ones; return how many there were."""
        ranges = [*map(_range_of, prefixes), *({"key": _encode(key)} for key in keys)]
        answers = self._inside(lambda: [_ask("deleterange", each) for each in ranges])
        return sum(int(answer.get("deleted", 0)) for answer in answers)

    def _inside(self, work: Callable[[], T]) -> T:
        # A thread that entered a network namespace stays there, so it is one that ends.
        with ThreadPoolExecutor(1, initializer=self._place.enter) as thread:
            return thread.submit(work).result()


def _ask(what: str, body: Mapping[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{ETCD_CLIENT}/v3/kv/{what}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=_SECONDS) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _range_of(prefix: str) -> dict[str, str]:
    return {"key": _encode(prefix), "range_end": _encode(prefix[:-1] + chr(ord(prefix[-1]) + 1))}


def _encode(key: str) -> str:
    return base64.b64encode(key.encode()).decode()
