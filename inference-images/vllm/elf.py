"""What shared libraries want of each other, read with readelf."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.failure import run_program


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol that a library uses and does not define."""

    name: str
    version: str
    is_data: bool
    is_weak: bool


@dataclass(frozen=True, slots=True)
class Linkage:
    """Facts about a set of libraries taken together."""

    needed: frozenset[str] = frozenset()
    """Sonames they ask the loader for."""
    undefined: frozenset[Symbol] = frozenset()
    defined: frozenset[str] = frozenset()
    version_owner: dict[str, str] = field(default_factory=dict)
    """Version of a symbol → soname of the library it is wanted from."""


def read_linkage(libraries: Iterable[Path]) -> Linkage:
    """Read the dynamic sections of libraries."""
    needed: set[str] = set()
    undefined: set[Symbol] = set()
    defined: set[str] = set()
    owners: dict[str, str] = {}
    for library in libraries:
        needed |= set(re.findall(r"NEEDED.*\[(.+?)\]", run_program(["readelf", "-dW", library])))
        owners |= _read_version_owners(library)
        for is_undefined, symbol in _read_symbols(library):
            if is_undefined:
                undefined.add(symbol)
            else:
                defined.add(symbol.name)
    return Linkage(frozenset(needed), frozenset(undefined), frozenset(defined), owners)


def _read_version_owners(library: Path) -> dict[str, str]:
    owners, current = {}, ""
    for line in run_program(["readelf", "-VW", library]).splitlines():
        if file := re.search(r"File: (\S+)", line):
            current = file[1]
        if current and (version := re.search(r"Name: (\S+)\s+Flags", line)):
            owners[version[1]] = current
    return owners


def _read_symbols(library: Path) -> Iterable[tuple[bool, Symbol]]:
    for line in run_program(["readelf", "--dyn-syms", "-W", library]).splitlines():
        words = line.split()
        if len(words) < 8 or not words[0].rstrip(":").isdigit():
            continue
        name, _, version = words[7].partition("@")
        yield words[6] == "UND", Symbol(name, version.lstrip("@"), words[3] == "OBJECT", words[4] == "WEAK")


def find_section(library: Path, name: str) -> tuple[int, int] | None:
    """Return offset and size in bytes of a section's content in the file, or None."""
    pattern = rf"\] {re.escape(name)}\s+PROGBITS\s+\S+\s+([0-9a-f]+)\s+([0-9a-f]+)"
    found = re.search(pattern, run_program(["readelf", "-SW", library]))
    return (int(found[1], 16), int(found[2], 16)) if found else None
