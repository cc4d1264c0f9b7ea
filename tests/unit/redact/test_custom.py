"""Tenants' dictionaries: limits first."""

from collections.abc import Sequence

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.redact import custom
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector


@pytest.mark.parametrize(
    ("words", "patterns", "says"),
    [
        (["ab"] * 5001, [], "5001 words and 0 patterns; at most 5000 and 64"),
        ([], ["a"] * 65, "0 words and 65 patterns"),
        (["a"], [], "word 0 has 1 characters; from 2 to 256"),
        (["x" * 257], [], "word 0 has 257 characters"),
        ([], ["x" * 257], "pattern 0 has 257 characters"),
        ([], ["(?=x)x"], "pattern 0 is not of RE2's syntax"),
        ([], ["\ud800"], "pattern 0 is not of RE2's syntax"),
        ([], ["x*"], "pattern 0 matches the empty text"),
        ([], [r"(?:\pL{1,100}){1,9}"], "pattern 0 is not of RE2's syntax, or too large"),
        ([], ["[ab]{900}x"] * 20, "its patterns compile to 18"),
        (
            [chr(0x4E00 + n) + chr(0x5E00 + n) * 255 for n in range(5000)],
            [],
            "all 5000 entries together take more than 32 MiB",
        ),
    ],
)
def test_what_is_beyond_the_limits_is_refused(words: Sequence[str], patterns: Sequence[str], says: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        custom.compile_custom(words, patterns)
    assert refusal.value.reason is Reason.POLICY_INVALID
    assert says in refusal.value.message


def test_nothing_given_is_nothing_compiled() -> None:
    assert custom.compile_custom([], []) is None


@pytest.mark.parametrize("text", ["新製品ＡＬＰＨＡの", "alphaについて", "x.AlPhA!"])
def test_words_are_found_in_any_width_and_case(text: str) -> None:
    detector = Detector(frozenset(), custom.compile_custom(["Alpha", "a.c"], []))
    (span,) = detector.detect(text)
    assert text[span.start : span.end].lower() in {"alpha", "ａｌｐｈａ"}
    assert span.category is Category.CUSTOM


def test_words_are_literal_and_the_longest_counts() -> None:
    detector = Detector(frozenset(), custom.compile_custom(["プロジェクト", "プロジェクト雷", "a.c"], [r"PRJ-\d+"]))
    text = "abc プロジェクト雷 PRJ-123 a.c"
    assert [text[s.start : s.end] for s in detector.detect(text)] == ["プロジェクト雷", "PRJ-123", "a.c"]


def test_a_full_dictionary_compiles_and_finds() -> None:
    words = [f"コード{n:04d}名" for n in range(custom.MAX_WORDS)]
    detector = Detector(frozenset(), custom.compile_custom(words, []))
    assert len(detector.detect(f"あ{words[0]}い{words[-1]}う")) == 2
