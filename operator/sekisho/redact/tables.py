"""Columns under a heading: what a cell holds is told by the first line of its table, however far that is.

Tables are lines with the same number of cells, with commas, semicolons, tabs, bars, ampersands or wide gaps between (CSV, TSV,
Markdown, LaTeX, what programs print), and rows of HTML. The columns that a statement of SQL inserts into or copies to are headings
as well, of a dump by the statement that creates its table.
"""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import re
import sys
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sekisho.redact.context import read_heading
from sekisho.redact.linear import Linear
from sekisho.redact.spans import Span

# Words of headings that tell what stands below.
_NAMED: Final = (
    r"氏名|名前|姓名|名義|担当者|申請者|契約者|患者名|顧客名|社員名|従業員名|参加者|宛名|カナ|フリガナ|ふりがな"
)
_NUMBERED: Final = r"マイナンバー|個人番号|法人番号|免許|旅券|パスポート|年金|保険|口座|電話|携帯|連絡先|ファックス|郵便番号|〒|カード番号|パスワード|APIキー|トークン|シークレット|秘密鍵|記号|番号|\bPW\b"
_LATIN: Final = (
    r"(?i:name|phone|tel|mobile|fax|zip|postal[ _]?code|account|card|passport|licen[cs]e|my[ _]?number|pension|ssn|insurer|insured|insurance"
    r"|pass|password|passwd|pwd|secret|token|api[ _]?key|access[ _]?key|social[ _]security|corporate|individual|residence|invoice|pan|registration|nenkin|kou?za|hokens[hy]?a|code|number|[_ ]no|[_ ]id|juu?sho|ip|post)"
)
_HEADING: Final = re.compile(
    rf"(?:{_NAMED}|{_NUMBERED}|\b{_LATIN}\b|{_LATIN}(?=[_ A-Z])|(?:(?<=_)|(?<=[a-z])(?=[A-Z])){_LATIN}\b)", re.ASCII
)
_OF_PEOPLE: Final = re.compile(rf"(?:{_NAMED}|(?:^|[ _])(?i:(?:full|first|last|customer|user|employee)?[ _]?name))$")
# A heading beside a sign between cells; in most texts there is none.
_BESIDE: Final = rf"(?:{_NAMED}|{_NUMBERED}|{_LATIN})[^\n,;\t|&]{{0,12}}[,;\t|&]|(?:[,;\t|&]|[^\s]  ) ?\"?[^\n,;\t|&]{{0,6}}(?:{_NAMED}|{_NUMBERED}|{_LATIN})"
_SIGNS: Final = "\t|,;&"
# Between cells of which no sign stands between.
_GAP: Final = "  "
_CELL: Final = {
    # ="0312345678" is how spreadsheets keep a zero.
    ",": re.compile(r'\s*=?(?:"([^"\n]*)"|([^,"\n]*))[^,\n]*(?:,|$)'),
    ";": re.compile(r'\s*(?:"([^"\n]*)"|([^;"\n]*))[^;\n]*(?:;|$)'),
    "\t": re.compile(r"()([^\t]*)(?:\t|$)"),
    "|": re.compile(r"()([^|]*)(?:\||$)"),
    "&": re.compile(r"()([^&]*)(?:&|$)"),
    _GAP: re.compile(r" *()((?:[^ ]| (?! ))*)(?: {2,}|$)"),
}
# 口座残高 and card type are told by nothing below.
_NO_HEADING: Final = re.compile(
    r"[:=@。]|[0-9]+(?![0-9桁])|(?:数|額|料|料金|代|残高|率|日|種別|区分|会社|期限|件|合計|状況|時間|(?i:balance|count|type|amount|fee|total|date|model|limit|brand))$"
)
_DIGIT: Final = re.compile("[0-9]")
_MAY_TELL: Final = re.compile("[0-9]|[A-Z][a-z]|[a-z][A-Z]")
_RULER: Final = re.compile(r"(?=[:| +]*[-=])[-:| +=]+")
_NOTE: Final = re.compile(r"(?:\([^()]{1,12}\)|をご?(?:入力|記入)(?:して)?ください)+$")
_LONGEST_HEADING: Final = 28
_MAX_COLUMNS: Final = 64
_MAX_LINE: Final = 4096


_SEARCH: Final = Linear(_BESIDE, memory_bytes=16 << 20)
_INSERT: Final = re.compile(
    r"insert\s{1,4}into\s{1,4}([^\s(]{1,128})\s{0,4}(?:\(([^()]{1,4096})\)\s{0,4})?values\s{0,4}", re.IGNORECASE
)
_CREATE: Final = re.compile(
    r"create\s{1,4}table\s{1,4}(?:if\s{1,4}not\s{1,4}exists\s{1,4})?([^\s(]{1,128})\s{0,4}\(([^;]{1,4096})",
    re.IGNORECASE,
)
_CREATED: Final = re.compile(r"(?:\A|,)\s{0,16}[`\"\[]?([^\W\d][^\s`\"\],()']{0,63})")
_COPY: Final = re.compile(
    r"copy\s{1,4}[^\s(]{1,128}\s{0,4}\(([^()]{1,4096})\)\s{0,4}from\s{1,4}stdin[^\n]{0,80}\n", re.IGNORECASE
)
_QUOTES: Final = '`"[] '
# A row of HTML, a cell with what stands first in it, or the end of a table.
_HTML: Final = re.compile(
    r"<tr\b|<(t[hd])\b[^<>]{0,160}>(?:\s{0,32}<(?:span|p|div|b|strong|em|a|font|small|code)\b[^<>]{0,160}>){0,4}\s{0,32}([^<]{0,512})|</?(?:table)\b",
    re.IGNORECASE,
)
_COLUMN: Final = re.compile(r"[^,\s`\"\[\]][^,]{0,62}")
_NEXT_ROW: Final = re.compile(r"[\s,]{0,8}\(")
_VALUE: Final = re.compile(r"\s{0,4}(?:'([^'\n]{0,512})'|([^,()'\n]{1,64}))\s{0,4}(,|\))")


@dataclass(frozen=True, slots=True)
class Told:
    """Cells of a text, each with its heading before it, as a text of its own.

    Attributes:
        text: Lines of a heading, a colon and a cell; secret.
        cells: Where cells begin in `text`, where they end there, and where they begin in the text they are from.
    """

    text: str
    cells: tuple[tuple[int, int, int], ...]

    def find(self, start: int, end: int) -> tuple[int, int] | None:
        """Return where a find in `text` stands in the text that the cells are from; None where it is in no cell."""
        at = bisect_right(self.cells, (start, len(self.text), 0)) - 1
        if at < 0:
            return None
        begin, stop, origin = self.cells[at]
        return (origin + start - begin, origin + end - begin) if end <= stop else None

    def settle(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield spans of the text that the cells are from, without those inside a cell, of which its heading tells."""
        origins = sorted((origin, origin + stop - begin) for begin, stop, origin in self.cells)
        for span in spans:
            at = bisect_right(origins, (span.start, sys.maxsize)) - 1
            if at < 0 or not origins[at][0] <= span.start < span.end <= origins[at][1]:
                yield span


def tell_cells(text: str, data: bytes, *, people: bool) -> Told | None:
    """Return the cells of a folded text whose headings say something; None where there are none.

    Args:
        text: Folded.
        data: The same in UTF-8.
        people: Whether columns of names are asked for, rather than those of numbers.
    """
    lines = b"\n" in data
    # The bracket is looked for first, since one byte is found many times faster than a word.
    inserts = b"(" in data and (b"NSERT" in data or b"nsert" in data or b"COPY" in data or b"copy" in data)
    html = b"<" in data and (b"</t" in data or b"</T" in data)
    if not lines and not inserts and not html:
        return None
    rows = list(_read_html(text)) if html else []
    if inserts:
        rows.extend(_read_inserts(text))
        rows.extend(_read_copies(text))
    if lines:
        rows.extend(_read_tables(text, data))
    parts: list[str] = []
    cells: list[tuple[int, int, int]] = []
    length = 0
    for heading, start, end in rows:
        if bool(_OF_PEOPLE.search(heading)) is not people or not (people or _MAY_TELL.search(text, start, end)):
            continue
        head = f"{'氏名' if people else _NOTE.sub(_keep_words, heading)}:"
        parts.append(f"{head}{text[start:end]}\n")
        cells.append((length + len(head), length + len(head) + end - start, start))
        length += len(parts[-1])
    return Told("".join(parts), tuple(cells)) if cells else None


def _read_inserts(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the values of statements that insert rows, with the names of their columns."""
    created: dict[str, list[str]] | None = None
    for statement in _INSERT.finditer(text):
        if statement[2] is not None:
            names = [name.strip(_QUOTES) for name in _COLUMN.findall(statement[2])][:_MAX_COLUMNS]
        else:
            if created is None:
                created = {
                    table[1].strip(_QUOTES): _CREATED.findall(table[2])[:_MAX_COLUMNS]
                    for table in _CREATE.finditer(text)
                }
            names = created.get(statement[1].strip(_QUOTES), [])
        row = _NEXT_ROW.match(text, statement.end())
        while row is not None:
            at = row.end()
            for name, value in _match_values(text, at, names):
                at = value.end()
                if _is_heading(name):
                    yield name, *value.span(1 if value[1] is not None else 2)
            row = _NEXT_ROW.match(text, at)


def _read_copies(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the cells of lines that a statement copies to a table, with the names of its columns."""
    start = 0
    for statement in _COPY.finditer(text):
        if statement.start() < start:
            # A row of the one before.
            continue
        names = [name.strip(_QUOTES) for name in _COLUMN.findall(statement[1])][:_MAX_COLUMNS]
        headings = _choose(names)
        start = statement.end()
        while start < len(text):
            end = _find_end(text, start)
            row = list(_split(text[start:end], "\t")) if end - start <= _MAX_LINE else []
            if len(row) != len(names):
                break
            yield from _tell_row(text[start:end], start, row, headings)
            start = end + 1


def _read_html(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the cells of tables in HTML; headings are the cells of a first row that say what stands below."""
    headings: dict[int, str] | None = None
    row: list[tuple[int, int]] = []
    width = 0
    for found in (*_HTML.finditer(text), None):
        if found is not None and found[1]:
            row.append((found.start(2), found.start(2) + len(found[2].rstrip())))
            continue
        if headings is None and row:
            width, headings = len(row), _choose([text[start:end] for start, end in row]) if len(row) > 1 else {}
        elif headings and len(row) == width:
            yield from _tell_row(text, 0, row, headings)
        if found is None or "table" in found[0].lower():
            headings = None
        row = []


def _choose(cells: Iterable[str]) -> dict[int, str]:
    """Return those of the first cells of columns that are headings, by their places."""
    return {at: cell for at, cell in enumerate(cells) if at < _MAX_COLUMNS and _is_heading(cell)}


def _tell_row(
    line: str, start: int, row: list[tuple[int, int]], headings: dict[int, str]
) -> Iterator[tuple[str, int, int]]:
    """Yield the cells of a row below headings, which begins at `start`."""
    yield from (
        (headings[at], start + low, start + high)
        for at, (low, high) in enumerate(row)
        if at in headings and high - low > 1 and not _is_heading(line[low:high])
    )


def _match_values(text: str, at: int, names: list[str]) -> Iterator[tuple[str, "re.Match[str]"]]:
    """Yield the values of a row that begin at `at`, each with the name of its column."""
    for name in names:
        value = _VALUE.match(text, at)
        if value is None:
            return
        yield name, value
        at = value.end()
        if value[3] == ")":
            return


def _read_tables(text: str, data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield cells with their headings; every line is read as a heading's at most once, and as a row once."""
    done = counted = place = 0
    for found, _ in _SEARCH.find(data):
        if found < done:
            continue
        begin = data.rfind(b"\n", done, found) + 1 or done
        place += len(data[counted:begin].decode())
        counted = begin
        end = yield from _read_table(text, place)
        done = begin + len(text[place:end].encode())


def _read_table(text: str, place: int) -> Generator[tuple[str, int, int], None, int]:
    """Yield the cells of a table whose headings may stand in the line that begins at `place`; return its end."""
    end = _find_end(text, place)
    line = text[place:end]
    sign = max(_SIGNS, key=line.count)
    if sign not in line:
        sign = _GAP
    # Rows of a name and a value have words of headings as well: a heading is the first line of its table.
    before = text[max(0, text.rfind("\n", max(0, place - _MAX_LINE), place - 1)) : max(0, place - 1)]
    # A line with one cell that is not empty is the title above it.
    first = before.count(sign) != line.count(sign) or sign * 2 in before
    heads = line.replace("||", "|") if line.startswith("||") else line
    columns = list(_split(heads, sign)) if first and len(line) <= _MAX_LINE else []
    headings = _choose(heads[start:stop] for start, stop in columns)
    # Rows may be numbered before the first column, which has no heading then.
    shift = sign == _GAP and line[:1] == " "
    while headings and end < len(text):
        start = end + 1
        stop = _find_end(text, start)
        line = text[start:stop]
        if stop - start <= _MAX_LINE and _RULER.fullmatch(line):
            end = stop
            continue
        row = list(_split(line, sign)) if stop - start <= _MAX_LINE and sign in line else []
        if shift and len(row) == len(columns) + 1:
            row = row[1:]
        if len(row) != len(columns):
            break
        end = stop
        yield from _tell_row(line, start, row, headings)
    return end


def _find_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _keep_words(note: "re.Match[str]") -> str:
    # (郵便番号) says what the cells are, (7桁) does not.
    return "" if _DIGIT.search(note[0]) else note[0]


def _is_heading(cell: str) -> bool:
    plain = _NOTE.sub(_keep_words, cell)
    if len(plain) > _LONGEST_HEADING or _NO_HEADING.search(plain):
        return False
    return _HEADING.search(plain) is not None or read_heading(plain) is not None


def _split(line: str, sign: str) -> Iterator[tuple[int, int]]:
    at, cell = 0, _CELL[sign]
    for _ in range(_MAX_COLUMNS):
        match = cell.match(line, at)
        if match is None or (at == len(line) and at):
            return
        start, end = match.span(1 if match[1] else 2)
        plain = line[start:end]
        yield start + len(plain) - len(plain.lstrip()), max(start, start + len(plain.rstrip()))
        at = match.end()
