"""Collateral as one file that can be carried into a closed network; everything is read as the broker reads it."""

import base64
import binascii
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sekisho.attest.binding import digest_bytes
from sekisho.attest.collateral import MAX_FILES, MAX_TOTAL_BYTES, Item, Loaded, parse_collateral
from sekisho.cli.failures import refuse
from sekisho.errors import Reason
from sekisho.seal.canonical import encode_canonical, parse_canonical

_FORMAT: Final = "sekisho-collateral/1"
_MOST_BUNDLE: Final = 2 * MAX_TOTAL_BYTES
_DAY: Final = 86400.0


def read_time(text: str | None) -> datetime:
    """Return the time that an option names; now without one.

    Raises:
        RefusedError: RequestInvalid.
    """
    if not text:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise refuse(f"{text} is no time with a zone; write 2026-12-01T00:00:00Z", reason=Reason.REQUEST_INVALID)
    return at


def load_folder(folder: Path, at: datetime) -> Loaded:
    """Read a folder as the broker does.

    Raises:
        RefusedError: It is not there, or has more than anybody could mean.
    """
    if not folder.is_dir():
        raise refuse(f"{folder} is no folder", reason=Reason.COLLATERAL_MISSING)
    return parse_collateral(_read_folder(folder), at=at)


def _read_folder(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if len(paths) > MAX_FILES or sum(path.stat().st_size for path in paths) > MAX_TOTAL_BYTES:
        text = f"{folder} has more than {MAX_FILES} files or {MAX_TOTAL_BYTES >> 20} MiB"
        raise refuse(text, reason=Reason.COLLATERAL_INVALID)
    return {path.name: path.read_bytes() for path in paths}


def list_folder(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """List a folder; refuse where something in it is of no use now.

    Raises:
        RefusedError: CollateralInvalid or CollateralExpired, with the whole list.
    """
    at = read_time(given["at"])
    loaded = load_folder(given["folder"], at)
    lines = [_spell(item, at) for item in loaded.items]
    lines += [f"UNUSABLE  {problem.file}: {problem.message}" for problem in loaded.problems]
    text = "\n".join(lines) or "nothing"
    if loaded.problems:
        raise refuse(f"{len(loaded.problems)} files cannot be used\n{text}", reason=Reason.COLLATERAL_INVALID)
    ended = [item.file for item in loaded.items if item.window is not None and not item.window.covers(at)]
    if ended:
        raise refuse(f"{len(ended)} are not valid now\n{text}", reason=Reason.COLLATERAL_EXPIRED)
    return {"items": [_describe(item, at) for item in loaded.items]}, text


def export_bundle(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Write a bundle, whole or not at all."""
    folder, bundle = given["folder"], given["bundle"]
    loaded = load_folder(folder, datetime.now(UTC))
    files = _read_folder(folder)
    left_out = {problem.file for problem in loaded.problems}
    kept = {name: base64.b64encode(data).decode() for name, data in files.items() if name not in left_out}
    if not kept:
        raise refuse(f"{folder} has nothing that can be used", reason=Reason.COLLATERAL_MISSING)
    data = encode_canonical({"files": kept, "format": _FORMAT})
    _write(bundle, data)
    digest = digest_bytes(data)
    text = f"{bundle}: {len(kept)} files, {len(left_out)} left out\n{digest}"
    return {"bundle": str(bundle), "digest": digest, "files": sorted(kept), "leftOut": sorted(left_out)}, text


def import_bundle(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Lay a bundle's files into a folder, after all of them were checked.

    Raises:
        RefusedError: Another bundle than the one that was meant, or a file of it cannot be used.
    """
    bundle, folder, wanted = given["bundle"], given["folder"], given["digest"]
    data = _read(bundle)
    if wanted and digest_bytes(data) != wanted:
        raise refuse(f"{bundle} has digest {digest_bytes(data)}, not {wanted}", reason=Reason.DIGEST_MISMATCH)
    files = _parse(data)
    fresh = parse_collateral(files, at=datetime.now(UTC))
    if fresh.problems:
        first = fresh.problems[0]
        raise refuse(f"{first.file} cannot be used: {first.message}", reason=Reason.COLLATERAL_INVALID)
    folder.mkdir(parents=True, exist_ok=True)
    written = [name for name in sorted(files) if _lay(folder / name, files[name])]
    text = f"{folder}: {len(written)} files written, {len(files) - len(written)} were there as they are or newer"
    return {"written": written, "files": sorted(files)}, text


def _lay(path: Path, data: bytes) -> bool:
    """Write one file unless the same or a newer one is there; tells whether it was written."""
    if path.exists():
        there = path.read_bytes()
        if there == data or _begins(path.name, there) > _begins(path.name, data):
            return False
    _write(path, data)
    return True


def _begins(name: str, data: bytes) -> float:
    """Return when what a file holds began to be good; the beginning of time where it says nothing."""
    items = parse_collateral({name: data}, at=datetime.now(UTC)).items
    return max((item.window.not_before.timestamp() for item in items if item.window is not None), default=0.0)


def _read(bundle: Path) -> bytes:
    with bundle.open("rb") as handle:
        data = handle.read(_MOST_BUNDLE + 1)
    if len(data) > _MOST_BUNDLE:
        raise refuse(f"{bundle} has more than {_MOST_BUNDLE >> 20} MiB", reason=Reason.REQUEST_TOO_LARGE)
    return data


def _parse(data: bytes) -> dict[str, bytes]:
    value = parse_canonical(data, name="the bundle", max_bytes=_MOST_BUNDLE)
    files = value.get("files")
    if value.get("format") != _FORMAT or not isinstance(files, dict) or not 0 < len(files) <= MAX_FILES:
        raise refuse(f"this is no bundle of format {_FORMAT} with 1 to {MAX_FILES} files")
    try:
        found = {name: base64.b64decode(text, validate=True) for name, text in files.items()}
    except (binascii.Error, TypeError, ValueError):
        raise refuse("a file of the bundle is not base64") from None
    bad = next((name for name in found if "/" in name or name.startswith(".") or not name.isprintable()), None)
    if bad is not None:
        raise refuse(f"{bad[:80]!r} cannot be the name of a file of collateral")
    return found


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(path)


def _describe(item: Item, at: datetime) -> dict[str, Any]:
    told: dict[str, Any] = {"file": item.file, "kind": item.kind}
    if item.window is not None:
        told |= {"notBefore": item.window.not_before.isoformat(), "notAfter": item.window.not_after.isoformat()}
        told["daysLeft"] = round((item.window.not_after - at).total_seconds() / _DAY, 1)
    return told


def _spell(item: Item, at: datetime) -> str:
    if item.window is None:
        return f"{item.kind:<16}  {'':<22}  {item.file}"
    days = (item.window.not_after - at).total_seconds() / _DAY
    left = "not valid yet" if at < item.window.not_before else f"{days:.0f} days" if days >= 0 else "ENDED"
    return f"{item.kind:<16}  {item.window.not_after:%Y-%m-%d} {left:<12}  {item.file}"
