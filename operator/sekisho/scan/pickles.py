"""Look into pickles: what the walk lets pass must pass picklescan as well."""

from dataclasses import replace
from io import BytesIO
from typing import Final

from picklescan.scanner import SafetyLevel, scan_pickle_bytes

from sekisho.scan.entry import WHOLE_BYTES, Entry, Window
from sekisho.scan.findings import Check, Severity
from sekisho.scan.machine import Walk, walk_pickle

MAX_PICKLES: Final = 1024
_TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C
_TORCH_PICKLES: Final = 5


def check_pickles(entry: Entry, *, certain: bool, broken: bool = False) -> bool:
    """Report what the pickles at the start of a file would do, and what of it cannot be read.

    Args:
        entry: The file.
        certain: Whether its name or first bytes promise a pickle; otherwise what does not read to its end is none.
        broken: Whether what it imports before it breaks counts even where a pickle is not certain.

    Returns:
        Whether it is a pickle at all.
    """
    entry.stream.seek(0)
    window = Window(entry.stream, WHOLE_BYTES, WHOLE_BYTES)
    clean, torch, whole, end = True, False, 0, 0
    while end < entry.size and whole < MAX_PICKLES:
        walk = walk_pickle(window)
        if walk.broken and not whole and not certain:
            if broken:
                _report(entry, replace(walk, broken=""), whole)
            return False
        _report(entry, walk, whole)
        clean &= not walk.problems and not walk.broken
        if walk.broken:
            break
        whole, end = whole + 1, walk.end
        torch |= whole == 1 and walk.first == _TORCH_MAGIC
        if torch and whole == _TORCH_PICKLES:
            break  # the weights follow as they are
    if whole >= MAX_PICKLES:
        entry.report(Check.PICKLE, Severity.SUSPECT, f"{MAX_PICKLES} pickles or more in one file")
    elif clean and whole:
        _ask_picklescan(entry, end)
    return whole > 0


def _report(entry: Entry, walk: Walk, whole: int) -> None:
    for severity, place, what in walk.problems:
        entry.report(Check.PICKLE, severity, f"a pickle that {what}", f"byte {place}")
    if walk.broken:
        after = f"what follows pickle {whole} is none: it" if whole else "a pickle that"
        entry.report(Check.PICKLE, Severity.SUSPECT, f"{after} {walk.broken}")


def _ask_picklescan(entry: Entry, end: int) -> None:
    entry.stream.seek(0)
    try:
        result = scan_pickle_bytes(BytesIO(entry.stream.read(end)), entry.name)
    except Exception as error:  # noqa: BLE001 - a scanner that fails has not vouched for the file
        entry.report(Check.PICKLE, Severity.SUSPECT, f"picklescan cannot read it: {type(error).__name__}")
        return
    for found in result.globals:
        if found.safety is SafetyLevel.Dangerous:
            entry.report(Check.PICKLE, Severity.DANGER, f"picklescan holds {found.module}.{found.name} to be dangerous")
    if result.scan_err:
        entry.report(Check.PICKLE, Severity.SUSPECT, "picklescan cannot read it to its end")
