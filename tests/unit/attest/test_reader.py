"""Reading fields: lowest byte first, and never past the end."""

import pytest

from sekisho.attest.reader import Reader
from sekisho.errors import Reason, RefusedError


def test_fields_are_read_in_order_and_the_rest_at_the_end() -> None:
    reader = Reader(bytes((1, 2, 0, 9, 8, 7)), "the quote")
    assert reader.number(1) == 1
    assert reader.number(2) == 2
    assert reader.at == 3
    assert reader.take(0) == b""
    assert reader.rest() == bytes((9, 8, 7))
    assert reader.rest() == b""


@pytest.mark.parametrize("size", [3, 1 << 32])
def test_a_field_beyond_the_end_is_refused(size: int) -> None:
    reader = Reader(b"abc", "the quote")
    reader.take(1)
    with pytest.raises(RefusedError) as caught:
        reader.take(size)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message == f"the quote has 3 bytes and ends within {size} that begin at byte 1"
