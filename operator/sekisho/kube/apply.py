"""Whether a manifest needs a write, and writing it without ever taking over what is not ours.

A manifest is written only where the live object, as the watch shows it, lacks the digest of exactly this manifest or
any field it asks for. So nothing is written when nothing changed, and whatever a hand changed is written back.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sekisho.api.meta import parse_quantity
from sekisho.api.names import (
    APPLIED_DIGEST_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
)  # fmt: skip
from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import KubeClient, Object
from sekisho.kube.failures import ApiConflictError
from sekisho.kube.ownership import count_as_applied, is_created
from sekisho.kube.resources import DEPLOYMENTS, resource_of

Manifest = Mapping[str, Any]
# Lists that others may add to; every other list of ours must be exactly what we asked for.
_SHARED_LISTS: Final[Mapping[str, str]] = {"ownerReferences": "uid", "imagePullSecrets": "name", "secrets": "name"}
# Maps that the API treats as one value: a key more changes what they select.
_WHOLE_MAPS: Final = frozenset({"matchLabels", "selector", "nodeSelector", "podSelector", "namespaceSelector"})
_QUANTITY_PARENTS: Final = frozenset({"requests", "limits"})
_QUANTITY_FIELDS: Final = frozenset({"sizeLimit", "divisor"})
_REWRITES: Final = 3
_EMPTY: Final[tuple[Any, ...]] = (None, {}, [], (), "", False, 0)


def digest_of(manifest: Manifest) -> str:
    """Return the digest of a manifest; key order does not matter."""
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":"), default=dict)
    return "sha256:" + hashlib.sha256(data.encode()).hexdigest()


def stamp(manifest: Manifest) -> Object:
    """Return the manifest with its own digest as annotation."""
    meta = dict(manifest["metadata"])
    meta["annotations"] = {**meta.get("annotations", {}), APPLIED_DIGEST_ANNOTATION: digest_of(manifest)}
    return {**manifest, "metadata": meta}


def find_difference(desired: Manifest, live: Manifest | None) -> str | None:
    """Say where the live object is not what a stamped manifest asks for; None where no write is needed.

    A manifest's own kind and version are not compared: items of a list come without them.
    """
    if live is None:
        return "it does not exist"
    if live.get("metadata", {}).get("deletionTimestamp"):
        return "it is being deleted"
    wanted = desired["metadata"].get("annotations", {}).get(APPLIED_DIGEST_ANNOTATION)
    have = live["metadata"].get("annotations", {}).get(APPLIED_DIGEST_ANNOTATION)
    if wanted != have:
        return f"metadata.annotations: digest {_short(wanted)} wanted, {_short(have)} there"
    rest = {key: value for key, value in desired.items() if key not in {"apiVersion", "kind", "metadata"}}
    meta = {key: desired["metadata"].get(key) for key in ("labels", "ownerReferences", "annotations")}
    return (
        _lack_finalizer(desired["metadata"], live["metadata"])
        or _differ(meta, live["metadata"], "metadata")
        or _differ(rest, live, "")
    )


def _lack_finalizer(desired: Manifest, live: Manifest) -> str | None:
    """Say which finalizer is missing; others may add theirs."""
    missing = sorted(set(desired.get("finalizers") or ()) - set(live.get("finalizers") or ()))
    return f"metadata.finalizers: {missing[0]} is missing" if missing else None


def _short(digest: object) -> str:
    return str(digest)[:19] if digest else "none"


def _differ(desired: Any, live: Any, path: str) -> str | None:
    field = path.rpartition(".")[2]
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        return _differ_map(desired, live, path)
    if _is_list(desired) and _is_list(live):
        key = _SHARED_LISTS.get(field)
        return _differ_shared(desired, live, path, key=key) if key else _differ_list(desired, live, path)
    if _is_same(desired, live, path):
        return None
    return f"{path}: {_show(desired)} wanted, {_show(live)} there"


def _differ_map(desired: Manifest, live: Manifest, path: str) -> str | None:
    if path.rpartition(".")[2] in _WHOLE_MAPS:
        extra = sorted(set(live) - set(desired))
        if extra:
            return f"{path}: {extra[0]} is there, and is not wanted"
    for key, value in desired.items():
        found = _differ(value, live.get(key), f"{path}.{key}" if path else str(key))
        if found:
            return found
    return None


def _differ_list(desired: Sequence[Any], live: Sequence[Any], path: str) -> str | None:
    if len(desired) != len(live):
        return f"{path}: {len(desired)} items wanted, {len(live)} there"
    for index, (one, other) in enumerate(zip(desired, live, strict=True)):
        found = _differ(one, other, f"{path}.{index}")
        if found:
            return found
    return None


def _differ_shared(desired: Sequence[Any], live: Sequence[Any], path: str, *, key: str) -> str | None:
    there = {item.get(key): item for item in live if isinstance(item, Mapping)}
    for item in desired:
        if item[key] not in there:
            return f"{path}: {item[key]} is missing"
        found = _differ(item, there[item[key]], f"{path}.{item[key]}")
        if found:
            return found
    return None


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_same(desired: Any, live: Any, path: str) -> bool:
    if type(desired) is type(live) and desired == live:
        return True
    if live is None:
        return any(desired == empty and type(desired) is type(empty) for empty in _EMPTY)
    parts = path.split(".")
    if parts[-1] in _QUANTITY_FIELDS or (len(parts) > 1 and parts[-2] in _QUANTITY_PARENTS):
        return _amount(desired) == _amount(live)
    return _is_number(desired) and _is_number(live) and bool(desired == live)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(value: object) -> Decimal | str:
    try:
        return parse_quantity(str(value))
    except ValueError:
        return str(value)


def _show(value: object) -> str:
    text = json.dumps(value, default=str, sort_keys=True)
    return text if len(text) <= 60 else text[:57] + "…"


def is_ours(live: Manifest, desired: Manifest) -> bool:
    """Tell whether a live object may be written over: our owner owns it, or nobody does and it carries our labels."""
    owners = {owner.get("uid") for owner in live.get("metadata", {}).get("ownerReferences") or ()}
    wanted = {owner.get("uid") for owner in desired["metadata"].get("ownerReferences") or ()}
    if owners & wanted:
        return True
    return _is_marked(live, desired) and not owners


def _is_marked(live: Manifest, desired: Manifest) -> bool:
    """Tell whether a live object carries our labels, which admission keeps for us."""
    labels, ours = live.get("metadata", {}).get("labels") or {}, desired["metadata"].get("labels") or {}
    return bool(labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(SERVICE_LABEL) == ours.get(SERVICE_LABEL))


async def write(client: KubeClient, desired: Manifest, live: Manifest | None) -> Object:
    """Create what a stamped manifest asks for, or apply it over `live`, the object that the watch shows, and no other.

    Returns:
        The object as the server now holds it; it contains all that was asked for.

    Raises:
        RefusedError: NotOurs where the name belongs to a foreign object; ApplyRefused where the server stored something
            else than what was asked for.
        UnavailableError: The object changed hands meanwhile, or is that of an earlier owner of the same name, which was
            deleted a moment ago; try again.
    """
    if live is None:
        try:
            return _observed(desired, await client.create(desired))
        except ApiConflictError:
            meta = desired["metadata"]
            live = await client.get(resource_of(desired), meta["name"], namespace=meta.get("namespace", ""))
            if live is None:
                raise
    _refuse_foreign(desired, live)
    if live["metadata"].get("deletionTimestamp"):
        raise ApiConflictError(
            f"{_name(desired)} is being deleted; it is written again when it is gone, which waits for its pods"
        )
    # Of Deployments admission keeps the labels of their pods too, and a spec written anew would begin a rollout.
    if not _is_marked(live, desired) and resource_of(desired) != DEPLOYMENTS:
        live = await _empty(client, desired, live)
    if is_created(live):
        await _count_as_applied(client, desired, live)
    stored = await client.apply({**desired, "metadata": {**desired["metadata"], "uid": live["metadata"]["uid"]}})
    if find_difference(desired, stored) and (lists := _overgrown(desired, stored)):
        stored = await client.patch(
            resource_of(desired), desired["metadata"]["name"], lists, namespace=desired["metadata"].get("namespace", "")
        )
    return _observed(desired, stored)


async def _empty(client: KubeClient, desired: Manifest, live: Manifest) -> Object:
    """Take out of an object that names our owner, but was not made by us, all that the manifest does not ask for.

    Whoever made it beforehand may have put in anything: annotations by which a cloud gives pods an identity, Secrets.
    """
    fresh = await _read_same(client, desired, live)
    kept = {"apiVersion", "kind", "metadata", "status"}
    change = [{"op": "replace", "path": "/metadata/resourceVersion", "value": fresh["metadata"]["resourceVersion"]}]
    change += [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    for field in sorted(set(fresh) - kept):
        change.append({"op": "remove", "path": f"/{field}"})
    change += [{"op": "add", "path": f"/{field}", "value": desired[field]} for field in sorted(set(desired) - kept)]
    meta = desired["metadata"]
    return await client.patch(
        resource_of(desired), meta["name"], change, namespace=meta.get("namespace", ""), kind="json"
    )


async def _count_as_applied(client: KubeClient, desired: Manifest, live: Manifest) -> None:
    """Let the apply that follows take back what the manifest no longer asks for.

    Others may write the object all the time, its status above all; that does not put a repair off at once.
    """
    for left in reversed(range(_REWRITES)):
        try:
            await _rewrite_record(client, desired, live)
        except ApiConflictError:
            if not left:
                raise
        else:
            return


async def _rewrite_record(client: KubeClient, desired: Manifest, live: Manifest) -> None:
    resource, meta = resource_of(desired), desired["metadata"]
    fresh = await _read_same(client, desired, live)
    if is_created(fresh):
        rewritten = {"managedFields": count_as_applied(fresh["metadata"]["managedFields"])}
        same = {"resourceVersion": fresh["metadata"]["resourceVersion"]}  # refused where it was written since
        change = [{"op": "replace", "path": f"/metadata/{k}", "value": v} for k, v in {**rewritten, **same}.items()]
        await client.patch(resource, meta["name"], change, namespace=meta.get("namespace", ""), kind="json")


async def _read_same(client: KubeClient, desired: Manifest, live: Manifest) -> Object:
    meta = desired["metadata"]
    fresh = await client.get(resource_of(desired), meta["name"], namespace=meta.get("namespace", ""))
    if fresh is None or fresh["metadata"]["uid"] != live["metadata"]["uid"]:
        raise ApiConflictError(f"{_name(desired)} is not the object any more that was shown; it is looked at again")
    return fresh


def _refuse_foreign(desired: Manifest, live: Manifest) -> None:
    if is_ours(live, desired):
        return
    owners = live["metadata"].get("ownerReferences") or ()
    wanted = desired["metadata"].get("ownerReferences") or ()
    namesakes = {_name_owner(owner) for owner in owners} & {_name_owner(owner) for owner in wanted}
    if namesakes:
        raise ApiConflictError(
            f"{_name(desired)} belongs to an earlier {' '.join(namesakes.pop())}, which is gone; it is made anew once "
            "the garbage collector has taken it, which waits for the earlier pods; see why one of them does not end "
            "where this lasts for minutes"
        )
    whose = (
        f"belongs to {owners[0].get('kind')} {owners[0].get('name')}" if owners else "does not carry sekisho's labels"
    )
    raise RefusedError(
        Reason.NOT_OURS,
        f"{_name(desired)} exists and {whose}; it is left as it is: rename or delete it, or rename this service",
    )


def _name_owner(owner: Manifest) -> tuple[str, str]:
    return str(owner.get("kind")), str(owner.get("name"))


def _overgrown(desired: Manifest, stored: Manifest) -> Object:
    """Return the lists of a pod template that others made longer: an apply cannot shorten them, a patch can."""
    want = desired.get("spec", {}).get("template", {}).get("spec", {})
    have = stored.get("spec", {}).get("template", {}).get("spec", {})
    names = ("containers", "initContainers", "volumes")
    longer = {name: want.get(name, []) for name in names if _differ(want.get(name, []), have.get(name) or [], name)}
    return {"spec": {"template": {"spec": longer}}} if longer else {}


def _observed(desired: Manifest, stored: Object) -> Object:
    difference = find_difference(desired, stored)
    if difference is None:
        return stored
    raise RefusedError(
        Reason.APPLY_REFUSED,
        f"{_name(desired)} was stored other than asked for ({difference}); find what in the cluster changes it",
    )


def _name(manifest: Manifest) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta.get('namespace', '')}/{meta['name']}"
