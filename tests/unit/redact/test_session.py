"""One request: nothing found survives, everything comes back, over every split."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import itertools
import json
import re
from types import SimpleNamespace

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.redact import known, restore
from sekisho.redact.categories import Category
from sekisho.redact.custom import compile_custom
from sekisho.redact.detect import Detector
from sekisho.redact.known import Known
from sekisho.redact.placeholders import LENGTH, derive_key
from sekisho.redact.restore import ByteRestorer, Restorer, Tally
from sekisho.redact.session import Redaction
from sekisho.redact.spans import Span

WHOLE = re.compile(r"\[\[[A-Z]{3}-[0-9A-Z]{12}\]\]")
KEY = derive_key(bytes(32), tenant="a", conversation="b")
DETECTOR = Detector(frozenset(Category), compile_custom(["極秘計画"], []))
ITEMS = st.sampled_from([
    "マイナンバー123456789018", "０３−１２３４−５６７８", "taro@example.jp", "極秘計画", "東京都港区芝1-2-3", "4111 1111 1111 1111", "[[EML-000000000000]]",
    "[[EML-", "[[", "[", "]]", "]", "\\uff10\\uff13-1234-5678", "password: hunter2abc", "\ud800", "口座番号1234567", "1234567", "😀", '"', "\\", "\n", "10.20.30.40",
])  # fmt: skip
TEXTS = st.lists(ITEMS | st.text(max_size=4), max_size=8).map("".join)
SETTINGS = settings(deadline=None, max_examples=120)


def new() -> Redaction:
    return Redaction(DETECTOR.detect, KEY)


def split(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(places)]


CUTS = st.lists(st.integers(0, 200), max_size=12)


@SETTINGS
@given(TEXTS, CUTS)
def test_restoring_what_was_redacted_gives_the_original_over_every_split(text: str, cuts: list[int]) -> None:
    redaction = new()
    restorer = redaction.restorer()
    redacted = redaction.redact(text)
    assert "".join(restorer.feed(chunk) for chunk in split(redacted, cuts)) + restorer.finish() == text
    assert restorer.tally.restored == sum(redaction.counts.values())
    assert restorer.tally.invented == 0


@SETTINGS
@given(TEXTS.filter(lambda text: "\ud800" not in text), CUTS)
def test_restoring_holds_over_every_split_of_bytes(text: str, cuts: list[int]) -> None:
    redaction = new()
    restorer = ByteRestorer(redaction.restorer())
    data = redaction.redact(text).encode()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(places)]
    assert b"".join(restorer.feed(chunk) for chunk in chunks) + restorer.finish() == text.encode()


def test_a_value_that_hangs_on_another_that_is_redacted_is_redacted_as_well() -> None:
    text = "taro@example.jp4111 1111 1111 1111と、4111 1111 1111 1111"
    assert "1111" not in new().redact(text)
    two = Known({"4111": Category.CARD, "zz55": Category.CUSTOM})
    again = two.find("a@b.jp4111zz55", found=[Span(0, 6, Category.EMAIL)])
    assert {(span.start, span.end) for span in again} == {(6, 10), (10, 14)}


@SETTINGS
@given(TEXTS)
def test_no_detected_value_stands_alone_in_any_redacted_text(text: str) -> None:
    redaction = new()
    redacted = redaction.redact_all([text, "x " + text])
    values = dict.fromkeys(redaction.values.values(), Category.CUSTOM)
    for other in redacted:
        assert Known(values).find(WHOLE.sub(" ", other)) == []


@SETTINGS
@given(
    st.dictionaries(TEXTS, TEXTS | st.integers() | st.just(4111111111111111) | st.booleans(), max_size=4),
    st.booleans(),
    CUTS,
)
def test_a_json_document_stays_one_and_comes_back(value: dict[str, object], ascii_only: bool, cuts: list[int]) -> None:
    redaction = new()
    document = json.dumps(value, ensure_ascii=ascii_only)
    redacted = redaction.redact_json(document)
    json.loads(redacted)
    restorer = redaction.restorer(in_json=True)
    restored = "".join(restorer.feed(chunk) for chunk in split(redacted, cuts)) + restorer.finish()
    assert _spell(json.loads(restored)) == _spell(value)


def _spell(value: dict[str, object]) -> dict[str, str]:
    return {key: str(item).lower() for key, item in value.items()}


def test_a_value_keeps_its_placeholder_over_turns_and_replicas() -> None:
    one, two = new().redact("電話 03-1234-5678"), new().redact("また電話 03-1234-5678 へ")
    assert one[3:] == two[5 : 5 + LENGTH]
    other = Redaction(DETECTOR.detect, derive_key(bytes(32), tenant="x", conversation="b")).redact("電話 03-1234-5678")
    assert other != one


def test_what_context_gives_away_once_is_taken_out_of_every_text() -> None:
    redacted = new().redact_all(["1234567 と 12345678 と", "口座番号 1234567", "(1234567)"])
    assert redacted[0].endswith(" と 12345678 と")
    assert redacted[0].startswith("[[BNK-")
    assert redacted[2].startswith("([[BNK-")


def test_many_known_values_are_taken_out_too() -> None:
    texts = [f"口座番号 {1000000 + n}。" for n in range(40)]
    redacted = new().redact_all([*texts, " ".join(str(1000000 + n) for n in range(40)) + "\ud800"])
    assert redacted[-1].count("[[BNK-") == 40
    assert not any(str(1000000 + n) in redacted[-1] for n in range(40))


def test_what_is_known_is_compiled_once_however_many_texts_and_documents_are_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = list[str]()

    def compile_union(pattern: str, options: object) -> object:
        compiled.append(pattern)
        return re2.compile(pattern, options)

    monkeypatch.setattr(known, "re2", SimpleNamespace(compile=compile_union, escape=re2.escape, Options=re2.Options))
    texts = [f"口座番号 {number} taro{number}@example.jp" for number in range(1_000_000, 1_000_100)]
    documents = [json.dumps({"a": text, "b": text.split()[1]}) for text in texts]
    redaction = new()
    for document in documents:
        redaction.learn(document, in_json=True)
    masked = redaction.redact_all(texts) + list(map(redaction.redact_json, documents))
    assert "10000" not in "".join(WHOLE.sub("", text) for text in masked)
    assert len(compiled) == 2


WORDS = st.text("ab1[ é\ud800山", min_size=1, max_size=7)


@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS, min_size=17, max_size=24, unique=True), st.lists(WORDS, max_size=12), st.data())
def test_many_values_are_found_where_an_automaton_finds_them(
    values: list[str], words: list[str], data: st.DataObject
) -> None:
    text = "".join(data.draw(st.permutations([*words, *values[:6]])))
    compiled, by_heads, alone = (known._Spelt(dict.fromkeys(values, Category.CUSTOM)) for _ in range(3))
    by_heads._is_large = alone._is_large = True
    alone._index, alone._alone = {}, values
    # Half a surrogate pair no automaton reads: it is looked for beside, and overlaps with others.
    if not any("\ud800" in value for value in values):
        assert by_heads.find(text) == compiled.find(text)
    for spelt in (by_heads, alone):
        covered = {place for start, end in spelt.find(text) for place in range(start, end)}
        for value in values:
            at = text.find(value)
            assert at < 0 or covered & set(range(at, at + len(value)))


def test_values_of_many_lengths_with_one_beginning_are_looked_for_alone() -> None:
    values = {f"sk-{'a' * length}": Category.SECRET_KEY for length in range(20, 220)} | {"b" * 40: Category.CUSTOM}
    spelt = known._Spelt(values)
    assert spelt._is_large
    text = f"sk-{'a' * 219} {'b' * 40} sk-{'a' * 19} sk-{'a' * 20}"
    places = {text[start:end] for start, end in spelt.find(text)}
    assert places == {value for value in values if value in text}
    assert set(spelt._alone) == {value for value in values if value.startswith("sk-")}


def test_thousands_of_long_values_are_found_by_their_heads() -> None:
    mails = [f"{number:05d}{'x' * 60}@{'y' * 50}.example.jp" for number in range(2000)]
    texts = [" ".join(mails[at : at + 20]) for at in range(0, 2000, 20)]
    redaction = new()
    masked = redaction.redact_all(texts)
    assert "@" not in "".join(masked)
    assert redaction._list_known()._texts._is_large
    restorer = redaction.restorer()
    assert [restorer.feed(text) + restorer.finish() for text in masked] == texts


def test_a_name_in_json_is_the_context_of_its_value_and_a_bare_number_becomes_a_string() -> None:
    redaction = new()
    redacted = json.loads(redaction.redact_json('{"口座番号":1234567,"n":12,"t":"1234567"}'))
    assert redacted["口座番号"].startswith("[[BNK-")
    assert redacted == {"口座番号": redacted["t"], "n": 12, "t": redacted["t"]}


def test_originals_are_escaped_for_json_strings() -> None:
    redaction = Redaction(Detector(frozenset(), compile_custom([], [r"a.b"])).detect, KEY)
    placeholder = redaction.redact('a"b')
    restorer = redaction.restorer(in_json=True)
    assert json.loads('"' + restorer.feed(placeholder) + restorer.finish() + '"') == 'a"b'


@pytest.mark.parametrize("value", ["-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "taro@example.jp"])
@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_originals_are_escaped_as_often_as_they_stand_in_strings_of_documents(
    value: str, depth: int, size: int
) -> None:
    redaction = new()
    name = redaction.redact(value)
    plain, masked = ({"a": text, "b": [f'say "{text}"', "\\"], text: 1} for text in (value, name))
    for _ in range(depth):
        plain, masked = {"n": json.dumps(plain), "m": 1}, {"n": json.dumps(masked), "m": 1}
    document = json.dumps(masked)
    restorer = redaction.restorer(in_json=True)
    pieces = [document[at : at + size] for at in range(0, len(document), size)]
    said = "".join(map(restorer.feed, pieces)) + restorer.finish()
    assert json.loads(said) == plain
    assert restorer.tally == Tally(restored=3)


@pytest.mark.parametrize(
    "said", ['{"a": "[[TEL-000000000000]]', "[[TEL-000000000000]]", '{"a": "[[TEL-000000000000]]"}[[TE']
)
def test_what_is_no_document_at_its_end_gets_its_originals_as_one_string_would(said: str) -> None:
    restorer = Restorer({"[[TEL-000000000000]]": 'a"b'}, in_json=True)
    assert restorer.feed(said) + restorer.finish() == said.replace("[[TEL-000000000000]]", 'a\\"b')
    assert restorer.tally == Tally(restored=1, halves=int(said.endswith("[[TE")))


def test_a_document_without_end_is_not_held_back_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "MAX_DOCUMENT", 40)
    restorer = Restorer({"[[TEL-000000000000]]": 'a"b'}, in_json=True)
    assert restorer.feed('{"a": "[[TEL-000000000000]]') == ""
    assert restorer.feed(" and more of it, [[TEL") == '{"a": "a\\"b and more of it, '
    assert restorer.feed('-000000000000]]"}') + restorer.finish() == 'a\\"b"}'
    assert restorer.tally == Tally(restored=2)


def test_a_known_value_is_not_cut_out_of_an_escape() -> None:
    redaction = Redaction(Detector(frozenset(), compile_custom([], ["n12345"])).detect, KEY)
    redaction.redact("n12345")
    assert redaction.redact_json('["\\n12345"]') == '["\\n12345"]'
    assert json.loads(redaction.redact_json('["\\\\ n12345"]'))[0].startswith("\\ [[CUS-")


def test_a_find_across_strings_is_cut_to_them() -> None:
    redaction = Redaction(Detector(frozenset(), compile_custom([], ['ab", *"cd', "1, 2"])).detect, KEY)
    first, second = json.loads(redaction.redact_json('["ab", "cd"]'))
    assert first.startswith("[[CUS-") and second.startswith("[[CUS-")  # noqa: PT018
    assert all(item.startswith("[[CUS-") for item in json.loads(redaction.redact_json("[1, 2]")))


@pytest.mark.parametrize("document", ["{", "電話 03-1234-5678", "[" * 100_000])
def test_what_is_no_json_is_refused(document: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        new().redact_json(document)
    assert refusal.value.reason is Reason.REQUEST_INVALID
    assert "not a JSON document" in refusal.value.message


def test_two_values_of_one_placeholder_are_refused() -> None:
    name = new().redact("03-1234-5678")
    redaction = new()
    redaction._values[name] = "another"
    with pytest.raises(RefusedError) as refusal:
        redaction.redact("03-1234-5678")
    assert refusal.value.reason is Reason.INTERNAL_ERROR
    assert "came to one placeholder" in refusal.value.message
    assert "1234" not in refusal.value.message


def test_nothing_secret_is_in_the_representation() -> None:
    redaction = new()
    redaction.redact("03-1234-5678")
    assert repr(redaction) == "Redaction(1 values)"


@pytest.mark.parametrize(
    ("chunks", "said", "tally"),
    [
        (["[[EML-", "ABCDEFGHJKMN]]"], "[[EML-ABCDEFGHJKMN]]", Tally(invented=1)),
        (["x[[EML-AB", " y"], "x[[EML-AB y", Tally(halves=1)),
        (["x[[EML-AB"], "x[[EML-AB", Tally(halves=1)),
        (["x["], "x[", Tally()),
        (["[[TEL-", "000000000000]", "]!"], "ok!", Tally(restored=1)),
        (["[[tel-000000000000]]"], "[[tel-000000000000]]", Tally()),
        ([""], "", Tally()),
    ],
)
def test_half_and_invented_placeholders_are_emitted_literally_and_counted(
    chunks: list[str], said: str, tally: Tally
) -> None:
    restorer = Restorer({"[[TEL-000000000000]]": "ok"})
    assert "".join(restorer.feed(chunk) for chunk in chunks) + restorer.finish() == said
    assert restorer.tally == tally


def test_no_more_than_one_placeholder_is_held_back() -> None:
    restorer = Restorer({})
    said = restorer.feed("[[EML-00000000000")
    assert said == ""
    assert restorer.feed("x" * 30) == "[[EML-00000000000" + "x" * 30


@pytest.mark.parametrize("chunks", [[b"\xff"], [b"\xe3\x81"]])
def test_a_stream_that_is_not_utf_8_is_refused(chunks: list[bytes]) -> None:
    restorer = ByteRestorer(Restorer({}))
    with pytest.raises(RefusedError) as refusal:
        [restorer.feed(chunk) for chunk in chunks] and restorer.finish()
    assert refusal.value.reason is Reason.UPSTREAM_FAILED
    assert "not UTF-8" in refusal.value.message


def test_two_finds_in_one_bare_number_make_one_string() -> None:
    redaction = Redaction(Detector(frozenset(), compile_custom([], ["12", "34"])).detect, KEY)
    (only,) = json.loads(redaction.redact_json("[12.34]"))
    assert redaction.values[only] == "12.34"


def test_a_request_with_too_many_values_is_refused() -> None:
    redaction = new()
    with pytest.raises(RefusedError) as refusal:
        redaction.redact(" ".join(f"a{n}@example.jp" for n in range(10_001)))
    assert refusal.value.reason is Reason.REQUEST_TOO_LARGE
    assert refusal.value.message == "the request holds more than 10000 values that must be redacted; send it in parts"


def test_what_a_document_gives_away_is_taken_out_of_it_and_of_texts_that_follow() -> None:
    redaction = new()
    far = "x" * 60
    document = json.dumps({"口座番号": "1234567", "far": far, "again": "1234567"})
    assert "1234567" not in redaction.redact_json(document)
    assert redaction.redact("(1234567)").startswith("([[BNK-")


def test_a_document_may_be_learned_before_texts_are_redacted() -> None:
    redaction = new()
    redaction.learn('{"口座番号": 1234567}', in_json=True)
    assert redaction.redact("(1234567)").startswith("([[BNK-")


@pytest.mark.parametrize("count", [2, 20])
def test_known_values_with_invisible_signs_or_half_surrogates_are_found_again(count: int) -> None:
    texts = [f"口座番号 {100 + n}\u200b4567" for n in range(count)]
    custom = Redaction(Detector(frozenset({Category.BANK_ACCOUNT}), compile_custom([], ["秘.密"])).detect, KEY)
    redacted = custom.redact_all([*texts, "「100\u200b4567」", "秘\ud800密", "秘?密"])
    assert redacted[-3].startswith("「[[BNK-")
    assert all(item.startswith("[[CUS-") for item in redacted[-2:])


def test_a_known_value_is_not_taken_for_one_that_differs_in_half_a_surrogate() -> None:
    known = {f"値{n}\x00": Category.CUSTOM for n in range(20)}
    assert Known(known).find("値1\ud800 値2\x00") == [Span(4, 7, Category.CUSTOM)]


def test_a_callers_own_placeholder_is_replaced_whatever_is_looked_for() -> None:
    redaction = Redaction(Detector(frozenset({Category.EMAIL})).detect, KEY)
    stolen = Redaction(DETECTOR.detect, KEY).redact("taro@example.jp")
    redacted = redaction.redact(f"{stolen} taro@example.jp")
    restorer = redaction.restorer()
    assert restorer.feed(redacted) + restorer.finish() == f"{stolen} taro@example.jp"
