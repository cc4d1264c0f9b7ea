"""Look into NumPy arrays: numbers are data, objects are pickles."""

import ast
from dataclasses import replace
from io import BytesIO
from typing import Final

from sekisho.scan.entry import WHOLE_BYTES, Entry
from sekisho.scan.findings import Check, Severity
from sekisho.scan.pickles import check_pickles

_MAX_HEADER_BYTES: Final = 16 * 1024
_LENGTH_BYTES: Final = {1: 2, 2: 4, 3: 4}


def check_array(entry: Entry) -> None:
    """Report an array whose header cannot be read, or that holds objects."""
    entry.stream.seek(6)
    version = entry.stream.read(2)
    width = _LENGTH_BYTES.get(version[0]) if len(version) == 2 else None
    if width is None:
        entry.report(Check.FORMAT, Severity.SUSPECT, f"a NumPy array of a version that is not known: {version.hex()}")
        return
    length = int.from_bytes(entry.stream.read(width), "little")
    header = entry.stream.read(length) if length <= _MAX_HEADER_BYTES else b""
    kinds = _read_kinds(header)
    if not kinds:
        entry.report(Check.FORMAT, Severity.SUSPECT, f"a NumPy array whose header of {length} bytes cannot be read")
    elif any("O" in kind for kind in kinds):
        entry.report(Check.PICKLE, Severity.SUSPECT, "a NumPy array of objects, which are loaded by pickle")
        rest = entry.stream.read(WHOLE_BYTES)
        size = entry.size - 8 - width - length
        check_pickles(replace(entry, stream=BytesIO(rest), size=size), certain=True)


def _read_kinds(header: bytes) -> list[str]:
    """List the types of an array's parts; nothing where the header is none."""
    try:
        value = ast.literal_eval(header.decode("latin-1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return []
    if not isinstance(value, dict) or set(value) != {"descr", "fortran_order", "shape"}:
        return []
    kinds: list[str] = []
    pending = [value["descr"]]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            kinds.append(part)
        elif isinstance(part, list):
            # (name, type) or (name, type, shape); a name may be (title, name)
            pending += [field[1] if isinstance(field, tuple) and len(field) > 1 else None for field in part]
        else:
            return []
    return kinds
