"""Where tensors begin in a file, so that segments are cut there; a header that cannot be read cuts every 4 MiB."""

import json
from pathlib import Path
from typing import Final

_MAX_HEADER_BYTES: Final = 100 * 1024 * 1024


def find_boundaries(place: Path, size: int) -> tuple[int, ...]:
    """List the offsets where tensors begin or end, ascending.

    Nothing is decided here: a malformed header yields no boundaries, and refusing it is the scan's business.
    """
    if place.suffix != ".safetensors" or size < 8:
        return ()
    with place.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
            return ()
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return ()
    start = 8 + length
    offsets = {start}
    for name, tensor in header.items() if isinstance(header, dict) else ():
        ends = tensor.get("data_offsets") if name != "__metadata__" and isinstance(tensor, dict) else None
        if isinstance(ends, list):
            offsets |= {start + end for end in ends if isinstance(end, int) and not isinstance(end, bool)}
    return tuple(sorted(offset for offset in offsets if 0 < offset < size))
