import mmap

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.loader.mapping import HUGE_PAGE_BYTES, MAX_BYTES, Region, wipe


def address(region: Region) -> int:
    import ctypes  # noqa: PLC0415

    return ctypes.addressof(ctypes.c_char.from_buffer(region.view))


@pytest.mark.parametrize("size", [-1, MAX_BYTES + 1])
def test_a_size_that_is_none_is_refused(size: int) -> None:
    with pytest.raises(RefusedError, match=f"{size} bytes are no size that can be loaded into memory") as caught:
        Region(size)
    assert caught.value.reason is Reason.SIZE_EXCEEDED


def test_memory_that_cannot_be_had_is_a_refusal_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(RefusedError, match="3 MiB of memory cannot be had; give the container more") as caught:
        Region(3 << 20)
    assert caught.value.reason is Reason.MEMORY_SHORT


@pytest.mark.parametrize("size", [1, 4096, 5 << 20])
def test_a_region_begins_at_a_huge_page(size: int) -> None:
    with Region(size) as region:
        assert address(region) % HUGE_PAGE_BYTES == 0
        assert len(region.view) == size


def test_a_region_is_zero_at_first_and_zero_before_it_goes() -> None:
    region = Region(3 << 20)
    region.populate()
    view = region.view
    assert not any(view)
    view[:] = b"\x01" * len(view)
    region.release()
    assert not any(view), "whoever still looks sees zeros, and no freed memory"
    del view
    region.release()


def test_a_region_released_twice_is_released_once() -> None:
    with Region(10) as region:
        region.release()
    region.release()


def test_an_empty_region_has_an_empty_view() -> None:
    with Region(0) as region:
        region.populate()
        assert bytes(region.view) == b""


def test_memory_is_private_and_left_out_of_core_dumps() -> None:
    with Region(4 << 20) as region:
        region.populate()
        flags = smaps_flags(address(region))
        assert "sh" not in flags, "shared memory would be seen by who inherits it"
        assert "dd" in flags
        assert "hg" in flags


def test_wiping_takes_views_of_any_shape_and_size() -> None:
    data = bytearray(b"\x01" * (2 * 1024 * 1024 + 3))
    wipe(memoryview(data)[1:-1])
    assert (data[0], data[-1], sum(data)) == (1, 1, 2)


def smaps_flags(place: int) -> list[str]:
    """Return the flags of the mapping that holds an address."""
    found = False
    with open("/proc/self/smaps") as smaps:  # noqa: PTH123
        for line in smaps:
            head = line.split()[0]
            if "-" in head and not head.endswith(":"):
                begin, _, end = head.partition("-")
                found = int(begin, 16) <= place < int(end, 16)
            elif found and head == "VmFlags:":
                return line.split()[1:]
    raise AssertionError("no mapping holds the address")
