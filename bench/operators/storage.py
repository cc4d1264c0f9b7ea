"""Takes namespaces out of the control plane's storage: through the API their end costs as much as their beginning."""

import base64
import http.client
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from e2e.cluster.control_plane import ETCD_CLIENT
from e2e.cluster.netns import NetworkNamespace

ROOT: Final = "/registry/"
_SECONDS: Final = 60.0
# What makes others anew goes first; what owns them goes last, or the garbage collector would ask for each of them.
_FIRST: Final = ("deployments", "replicasets", "pods", "services/specs", "poddisruptionbudgets")
_LAST: Final = "inference.sekisho.dev/inferenceservices"
T = TypeVar("T")


def find_keys(keys: Iterable[str], namespaces: Iterable[str]) -> list[str]:
    """Return the keys of all that is in the namespaces, in the order in which they are best removed."""
    wanted = set(namespaces)
    found: list[tuple[int, str]] = []
    for key in keys:
        parts = key.removeprefix(ROOT).split("/")
        # Kind, namespace, name; a kind may have two parts, and a name may be a namespace's too.
        for index in (1, 2):
            if index < len(parts) - 1 and parts[index] in wanted:
                found.append((_rank("/".join(parts[:index])), key))
                break
    return [key for _, key in sorted(found)]


def deal_by_kind(keys: Iterable[str]) -> list[list[str]]:
    """Deal keys of things in namespaces into groups that hold no two of a kind.

    A group goes in one revision, and a watch of a kind that goes on from a revision never shows the rest of it.
    """
    kinds: dict[str, list[str]] = {}
    for key in keys:
        kinds.setdefault(key.rsplit("/", 2)[0], []).append(key)
    return [[key for key in group if key is not None] for group in itertools.zip_longest(*kinds.values())]


def _rank(kind: str) -> int:
    if kind in _FIRST:
        return _FIRST.index(kind)
    return len(_FIRST) + (kind == _LAST)


class Storage:
    """The etcd of a control plane, which only its network namespace reaches."""

    def __init__(self, place: NetworkNamespace) -> None:
        self._place = place

    def list_keys(self, prefix: str = ROOT) -> list[str]:
        """Return the keys that begin so."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        body = {"key": _encode(prefix), "range_end": _encode(end), "keys_only": True}
        (answer,) = self._inside(lambda: _ask("range", [body]))
        return [base64.b64decode(item["key"]).decode() for item in answer.get("kvs", ())]

    def delete(self, keys: Iterable[str]) -> int:
        """Remove keys; return how many there were."""
        bodies = [
            {"success": [{"requestDeleteRange": {"key": _encode(key)}} for key in together]}
            for together in deal_by_kind(keys)
        ]
        answers = self._inside(lambda: _ask("txn", bodies))
        return sum(
            int(each["response_delete_range"].get("deleted", 0)) for answer in answers for each in answer["responses"]
        )

    def _inside(self, work: Callable[[], T]) -> T:
        # A thread that entered a network namespace stays there, so it is one that ends.
        with ThreadPoolExecutor(1, initializer=self._place.enter) as thread:
            return thread.submit(work).result()


def _ask(what: str, bodies: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ask one question after another, over one connection."""
    connection = http.client.HTTPConnection(urlsplit(ETCD_CLIENT).netloc, timeout=_SECONDS)
    try:
        return [_ask_once(connection, what, body) for body in bodies]
    finally:
        connection.close()


def _ask_once(connection: http.client.HTTPConnection, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
    connection.request("POST", f"/v3/kv/{what}", json.dumps(body))
    response = connection.getresponse()
    data = response.read()
    if response.status != http.client.OK:
        raise OSError(f"etcd answered {what} with {response.status}: {data[:300]!r}")
    answer: dict[str, Any] = json.loads(data)
    return answer


def _encode(key: str) -> str:
    return base64.b64encode(key.encode()).decode()
