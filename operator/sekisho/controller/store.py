"""What the watches have shown, one store a kind. Written by the wiring alone, read by the gatherer."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sekisho.kube.resources import Resource

Raw = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace (empty for kinds without) and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object came, went or differs in what the store keeps of it."""

    resource: Resource
    name: Name
    old: Raw | None
    new: Raw | None


def name_of(raw: Raw) -> Name:
    """Return namespace and name of an object."""
    meta = raw["metadata"]
    return meta.get("namespace", ""), meta["name"]


def version_of(raw: Raw) -> int:
    """Return the resource version as a number; versions of one cluster can be compared."""
    text = str(raw["metadata"].get("resourceVersion", "0"))
    return int(text) if text.isdigit() else 0


class Store:
    """The objects of one kind, projected.

    Attributes:
        shown_version: The newest version that the watch itself has shown.
        shown_at: When the watch last showed anything, by the monotonic clock.

    Args:
        project: What is kept of an object; must keep `metadata.resourceVersion`.
        facts: What of the kept makes a difference; equal facts are no change.
    """

    def __init__(self, resource: Resource, *, project: Callable[[Raw], Raw], facts: Callable[[Raw], Any]) -> None:
        self.resource = resource
        self.shown_version = 0
        self.shown_at = time.monotonic()
        self._project = project
        self._facts = facts
        self._items: dict[Name, Raw] = {}
        self._taken_at: dict[Name, float] = {}
        self._gone: dict[Name, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Raw]:
        return iter(list(self._items.values()))

    def get(self, name: Name) -> Raw | None:
        """Return what is kept of one object."""
        return self._items.get(name)

    def taken_at(self, name: Name) -> float:
        """Return when the version that is kept of an object came, by the monotonic clock; now where nothing is kept."""
        return self._taken_at.get(name, time.monotonic())

    def names(self) -> list[Name]:
        """Return the names of all objects."""
        return list(self._items)

    def show(self, kind: str | None, raw: Raw) -> Change | None:
        """Take in what a watch showed (`kind` None: its first list); None where it is no news."""
        self.shown_at = time.monotonic()
        self.shown_version = max(self.shown_version, version_of(raw))
        return self.drop(raw) if kind == "DELETED" else self.put(raw)

    def reach(self, version: int) -> None:
        """Take in that the watch has shown everything until a version, though nothing of it may be new."""
        self.shown_at = time.monotonic()
        self.shown_version = max(self.shown_version, version)

    def put(self, raw: Raw) -> Change | None:
        """Take in an object as the server holds it; what is older than what is known changes nothing."""
        name, version = name_of(raw), version_of(raw)
        old = self._items.get(name)
        if old is not None and version <= version_of(old):
            return None
        if version <= self._gone.get(name, -1):
            return None
        new = self._items[name] = self._project(raw)
        self._taken_at[name] = time.monotonic()
        if old is not None and self._facts(old) == self._facts(new):
            return None
        return Change(self.resource, name, old, new)

    def drop(self, raw: Raw) -> Change | None:
        """Take in that an object is gone; one of that name which is newer stays."""
        name, version = name_of(raw), version_of(raw)
        old = self._items.get(name)
        if old is None or version < version_of(old):
            return None
        self._remember_gone(name, version)
        del self._items[name], self._taken_at[name]
        return Change(self.resource, name, old, None)

    def reconcile_names(self, listed: Mapping[Name, int], *, at_version: int) -> tuple[list[Change], list[Name]]:
        """Compare with a full list of names and versions.

        Returns:
            What vanished without the watch telling, and the names of what the list shows newer.
        """
        gone = [name for name, item in self._items.items() if name not in listed and version_of(item) <= at_version]
        changes = [Change(self.resource, name, self._items.pop(name), None) for name in gone]
        for name in gone:
            del self._taken_at[name]
        missed = [
            name
            for name, version in listed.items()
            if version > self._gone.get(name, -1)
            and (name not in self._items or version_of(self._items[name]) < version)
        ]
        return changes, missed

    def _remember_gone(self, name: Name, version: int) -> None:
        # A late answer to our own write must not bring a deleted object back; a few thousand names are enough.
        self._gone.pop(name, None)
        self._gone[name] = version
        if len(self._gone) > 4096:
            del self._gone[next(iter(self._gone))]


class OwnerIndex:
    """Which children of which kinds belong to which owner, by the owner's uid."""

    def __init__(self) -> None:
        self._by_owner: dict[str, set[tuple[Resource, Name]]] = {}

    def note(self, change: Change) -> None:
        """Keep up with a change of a child."""
        entry = (change.resource, change.name)
        before, after = set(owners_of(change.old)), set(owners_of(change.new))
        for uid in before - after:
            members = self._by_owner.get(uid, set())
            members.discard(entry)
            if not members:
                self._by_owner.pop(uid, None)
        for uid in after - before:
            self._by_owner.setdefault(uid, set()).add(entry)

    def children_of(self, uid: str) -> Iterable[tuple[Resource, Name]]:
        """Return the children of an owner, in a stable order."""
        return sorted(self._by_owner.get(uid, ()), key=lambda entry: (entry[0].kind, entry[1]))


def owners_of(raw: Raw | None) -> Iterator[str]:
    """Yield the uids of an object's owners."""
    for owner in (raw or {}).get("metadata", {}).get("ownerReferences") or ():
        yield str(owner.get("uid", ""))
