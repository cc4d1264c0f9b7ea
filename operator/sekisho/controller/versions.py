"""The ledger of accepted versions: ConfigMaps in the system namespace, written by the leader alone, never lowered.

Editors of a namespace can delete its Models, and with them what their statuses remember; they cannot write here. One
entry for each namespace, model and signer, spread over a fixed number of ConfigMaps by its digest. Each write names the
version it builds on: a write of an earlier leader that arrives late would take away what this one remembered.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from sekisho.api.names import APP_NAME, APP_NAME_LABEL, VERSIONS_LABEL
from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import ABSENT, KubeClient
from sekisho.kube.failures import ApiConflictError
from sekisho.kube.resources import CONFIG_MAPS
from sekisho.plan.versions import Accepted, Versions

_log = logging.getLogger(__name__)
SHARDS: Final = 16
MAX_ENTRIES: Final = 1500  # of one ConfigMap, which may have a mebibyte
_PREFIX: Final = "sekisho-accepted-versions-"
_MAX_VERSION: Final = 2**53 - 1
_FIELDS: Final = {"model", "namespace", "signer", "version"}
Entry = tuple[str, str, str]


class VersionLedger:
    """What every namespace has accepted.

    Args:
        namespace: The system namespace.
    """

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._shards: list[dict[Entry, int]] = [{} for _ in range(SHARDS)]
        self._stored_at: dict[str, str] = {}
        self._known: dict[str, Versions] = {}
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read everything; called once, before anything is decided.

        Raises:
            UnavailableError: The API server did not answer.
        """
        selector = f"{VERSIONS_LABEL}=accepted"
        for raw in await self._client.list_all(CONFIG_MAPS, namespace=self._namespace, label_selector=selector):
            self._take(raw)
        self._index({entry[0] for shard in self._shards for entry in shard})

    def _take(self, raw: Mapping[str, Any]) -> None:
        """Learn what a ConfigMap holds, beside what is known already."""
        name = raw["metadata"]["name"]
        self._stored_at[name] = str(raw["metadata"].get("resourceVersion", ""))
        for key, text in (raw.get("data") or {}).items():
            found = _parse(text)
            if found is None or _key(found[0]) != key:
                _log.error("an accepted version cannot be read", extra={"configmap": name, "key": key[:64]})
                continue
            entry, version = found
            shard = self._shards[_shard(entry)]
            shard[entry] = max(version, shard.get(entry, 0))

    def of(self, namespace: str) -> Versions:
        """Return what a namespace has accepted."""
        return self._known.get(namespace) or Versions({})

    async def note(self, namespace: str, accepted: Accepted) -> None:
        """Remember a version, durably, before anything is served on its account; a lower one changes nothing.

        Raises:
            UnavailableError: It could not be written.
            RefusedError: There is no room for another entry.
        """
        async with self._lock:
            entries = [(namespace, accepted.model, signer) for signer in accepted.signers]
            for entry in entries:
                number = _shard(entry)
                if self._shards[number].get(entry, 0) < accepted.version:
                    await self._add(number, entry, accepted.version)
            self._index({namespace})

    async def _add(self, number: int, entry: Entry, version: int) -> None:
        try:
            await self._write(number, self._shards[number] | {entry: version})
        except ApiConflictError:
            # Somebody wrote it since: what is there now is learnt, and kept.
            raw = await self._client.get(CONFIG_MAPS, _name(number), namespace=self._namespace)
            if raw is not None:
                self._take(raw)
                self._index({kept[0] for kept in self._shards[number]})
            await self._write(number, self._shards[number] | {entry: max(version, self._shards[number].get(entry, 0))})

    async def _write(self, number: int, shard: dict[Entry, int]) -> None:
        name = _name(number)
        if len(shard) > MAX_ENTRIES:
            raise RefusedError(
                Reason.RECORD_UNAVAILABLE,
                f"the version cannot be remembered as accepted: ConfigMap {self._namespace}/{name} holds {MAX_ENTRIES} "
                "entries, its most; remove those of namespaces that are gone, then start the controller anew",
            )
        labels = {APP_NAME_LABEL: APP_NAME, VERSIONS_LABEL: "accepted"}
        at = self._stored_at.get(name) or ABSENT
        stored = await self._client.apply(
            {
                "apiVersion": CONFIG_MAPS.api_version,
                "kind": CONFIG_MAPS.kind,
                "metadata": {"name": name, "namespace": self._namespace, "labels": labels, "resourceVersion": at},
                "data": {_key(entry): _spell(entry, version) for entry, version in sorted(shard.items())},
            }
        )
        self._shards[number] = shard
        self._stored_at[name] = str(stored["metadata"].get("resourceVersion", ""))

    def _index(self, namespaces: set[str]) -> None:
        for namespace in namespaces:
            found = {
                (model, signer): version
                for shard in self._shards
                for (where, model, signer), version in shard.items()
                if where == namespace
            }
            self._known[namespace] = Versions(found)


def _name(number: int) -> str:
    return f"{_PREFIX}{number:x}"


def _key(entry: Entry) -> str:
    return hashlib.sha256(json.dumps(entry).encode()).hexdigest()[:40]


def _shard(entry: Entry) -> int:
    return int(_key(entry)[0], 16) % SHARDS


def _spell(entry: Entry, version: int) -> str:
    namespace, model, signer = entry
    return json.dumps({"model": model, "namespace": namespace, "signer": signer, "version": version}, sort_keys=True)


def _parse(text: Any) -> tuple[Entry, int] | None:
    try:
        value: Mapping[str, Any] = json.loads(text)
        texts = (value["namespace"], value["model"], value["signer"])
        version = value["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if set(value) != _FIELDS or not all(isinstance(item, str) for item in texts):
        return None
    if type(version) is not int or not 1 <= version <= _MAX_VERSION:
        return None
    return texts, version
