"""What people do, before and behind a word."""

import pytest

from sekisho.redact.deeds import did, does
from tests.unit.redact.lexicons import build_words


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("川上/NOUN は/OTHER 昨日/NOUN 入院/NOUN し/OTHER た/OTHER", True),
        ("川上/NOUN は/OTHER 昨日/NOUN 完成/NOUN し/OTHER た/OTHER", False),
        ("川上/NOUN は/OTHER 川/NOUN だ/OTHER 。/SIGN 姉/NOUN が/OTHER 入院/NOUN し/OTHER た/OTHER", False),
        ("川上/NOUN は/OTHER " + "長い/OTHER " * 13 + "入院/NOUN", True),
        ("川上/NOUN は/OTHER " + "長い/OTHER " * 14 + "入院/NOUN", False),
    ],
)
def test_what_people_do_is_looked_for_up_to_the_end_of_the_sentence(notation: str, expected: bool) -> None:
    assert does(build_words(notation), 2) is expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("謝罪/NOUN し/OTHER た/OTHER 川上/NOUN は/OTHER", True),
        ("悩ん/OTHER だ/OTHER 川上/NOUN は/OTHER", True),
        ("謝罪/NOUN する/OTHER 川上/NOUN は/OTHER", False),
        ("流れ/OTHER た/OTHER 川上/NOUN は/OTHER", False),
    ],
)
def test_what_people_did_stands_right_before_them(notation: str, expected: bool) -> None:
    words = build_words(notation)
    assert did(words, len(words) - 2) is expected
