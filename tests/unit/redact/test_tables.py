"""Columns under a heading."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import random
from itertools import product

import pytest

from sekisho.redact import checks
from sekisho.redact.categories import BY_TAGGER, Category
from sekisho.redact.detect import Detector
from sekisho.redact.fold import fold
from sekisho.redact.tables import tell_cells

DETECTOR = Detector(frozenset(Category) - BY_TAGGER)
# What nothing but the heading tells, and its heading.
COLUMNS = {
    Category.BANK_ACCOUNT: ("口座番号", "振込口座", "account_number"),
    Category.JP_PENSION_NUMBER: ("基礎年金番号", "年金番号"),
    Category.JP_PASSPORT: ("パスポート番号", "passport"),
    Category.JP_POSTAL_CODE: ("郵便番号", "zip"),
}


def told(text: str, *, people: bool = False) -> list[str]:
    folded = fold(text)
    cells = tell_cells(folded.text, folded.data, people=people)
    if cells is None:
        return []
    for start, end, origin in cells.cells:
        assert cells.text[start:end] == folded.text[origin : origin + end - start]
        assert cells.find(start, end) == (origin, origin + end - start)
    return cells.text.splitlines()


def _make(rng: random.Random, category: Category) -> str:
    digits = "".join(rng.choice("0123456789") for _ in range(10))
    return {
        Category.BANK_ACCOUNT: digits[:7],
        Category.JP_PENSION_NUMBER: rng.choice([digits, f"{digits[:4]}-{digits[4:]}"]),
        Category.JP_PASSPORT: rng.choice(["TK", "MU"]) + digits[:7],
        Category.JP_POSTAL_CODE: f"{digits[:3]}-{digits[3:7]}",
    }[category]


def _render(rows: list[list[str]], sign: str) -> str:
    if sign == "|":
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    return "\n".join(sign.join(row) for row in rows)


@pytest.mark.parametrize(("sign", "category"), list(product(",\t|", COLUMNS)))
def test_what_a_column_holds_is_told_by_its_heading_however_far_that_is(sign: str, category: Category) -> None:
    rng = random.Random(7)  # noqa: S311 - made-up data
    for heading in COLUMNS[category]:
        values = [_make(rng, category) for _ in range(12)]
        rows = [["品名", heading, "備考"], *(["みかんとりんごの詰め合わせ", value, "なし"] for value in values)]
        text = "ご確認ください。\n" + _render(rows, sign) + "\n以上です。1234567\n"
        found = [(text[span.start : span.end], span.category) for span in DETECTOR.detect(text)]
        assert found == [(value, category) for value in values]


def test_a_number_with_a_wrong_check_digit_is_none_in_its_column_either() -> None:
    wrong = next(digits for digits in map(str, range(10**11, 10**11 + 99)) if not checks.is_my_number(digits))
    assert DETECTOR.detect(f"品名,個人番号\nみかん,{wrong}\n") == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "口座番号,支店",
        "口座番号:,支店:\n1234567,本店",
        "口座番号1,支店\n1234567,本店",
        "口座番号,支店\n1234567,本店,東京\n",
        "口座番号\n1234567\n",
        "品名,数\n1234567,2\n",
        "どこの口座番号に振り込めばよいのか教えてください,お願いします\n1234567,2\n",
        "口座番号,支店\n" + "1" * 5000 + ",本店",
        "口座番号," + "1" * 5000 + "\n1234567,本店",
        '{\n"口座番号": "1234567",\n"電話": "1234567",\n}',
    ],
)
def test_what_is_no_table_tells_nothing(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,name,tel\n1,Ana,99\n2,Bob,98\n", ["氏名:Ana", "氏名:Bob"]),
        ("社員名\t所属\n田中\t営業\n\n鈴木\t総務", ["氏名:田中"]),
        ('氏名,年齢\n"田中, 太郎",3\n', ["氏名:田中, 太郎"]),
        ("| 氏名 | 年齢 |\n|---|:--|\n| 田中 | 3 |\n", ["氏名:田中"]),
        ("連絡先氏名,x\n花子,1\n\n氏名|x\n太郎|1", ["氏名:花子", "氏名:太郎"]),
        ("氏名,氏名\nあ,い\n", []),
    ],
)
def test_columns_of_names_are_told_by_themselves(text: str, expected: list[str]) -> None:
    assert told(text, people=True) == expected


def test_finds_that_begin_in_no_cell_or_leave_theirs_are_nowhere() -> None:
    text = "品名,口座番号\nみかん,1234567\n"
    cells = tell_cells(text, text.encode(), people=False)
    assert cells is not None
    assert cells.text == "口座番号:1234567\n"
    assert cells.find(0, 4) is None
    assert cells.find(5, 13) is None
    assert cells.find(6, 12) == (text.index("234567"), text.index("234567") + 6)


def test_each_line_is_read_a_bounded_number_of_times() -> None:
    row = "口座番号," * 40
    text = (row[:-1] + "\n") * 50
    assert told(text) == []
    assert len(told("口座番号,x\n" + "1234567,y\n" * 1000)) == 1000


def test_of_very_many_columns_the_first_are_read() -> None:
    rows = [["口座番号"] * 70, ["1234567"] * 70]
    assert len(told(_render(rows, ","))) == 64


def test_what_a_heading_and_a_cell_make_together_stands_nowhere() -> None:
    assert DETECTOR.detect("品名,東京都港区電話\nみかん,芝1-2-3\n") == ()


def test_what_is_known_of_a_text_is_not_looked_for_again() -> None:
    known = DETECTOR.survey("品名,口座番号\nみかん,1234567\n")
    assert DETECTOR.survey("", known) is known


def test_a_key_that_begins_in_a_cell_is_found_as_far_as_it_goes() -> None:
    text = "品名,口座番号\nみかん,1 -----BEGIN PRIVATE KEY-----\n"
    (key,) = DETECTOR.detect(text)
    assert key.category is Category.SECRET_KEY
    assert text[key.start :].startswith("-----BEGIN")


@pytest.mark.parametrize(
    "text",
    [
        "品番,口座番号\n03-1234-5678,1234567\n", "JAN;カード番号\n4912047089752;4111111111111111\n", "注文番号\t電話\n03-1234-5678\t09012345678\n",
        "insert into t (order_no, tel) values ('03-1234-5678', '09012345678')", "版,電話\n12.16.59.141,09012345678\n",
    ],
)  # fmt: skip
def test_what_a_heading_says_counts_before_what_a_cell_looks_like(text: str) -> None:
    text = text.replace("版", "バージョン")
    assert [text[span.start : span.end] for span in DETECTOR.detect(text)] == [
        {"品": "1234567", "J": "4111111111111111"}.get(text[0], "09012345678")
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("郵便番号（7桁）,名\n1000001,あ\n", "1000001"), ("ご住所（郵便番号）;名\n1000001;あ\n", "1000001"), ("basicPensionNumber\tx\n1234567890\ty\n", "1234567890"), ("口座番号;支店\n1234567;本店\n", "1234567"),
        ("〒\t名\n1000001\tあ\n", "1000001"), ("INSERT INTO users (name, kouza_bangou) VALUES ('ana', '1234567');", "1234567"), ("insert into `t` (`account_no`) values\n(1234567), (x);", "1234567"),
        ("INSERT INTO t (name, account_no) VALUES ('ana', '1234567'), ('bob')", "1234567"), ("INSERT INTO t (account_no) VALUES ('1234567', 'x')", "1234567"), ("insert into t (a) values (x'; insert into t (account_no) values ('1234567')", "1234567"),
    ],
)  # fmt: skip
def test_columns_of_every_kind_of_table_are_told(text: str, value: str) -> None:
    assert [text[span.start : span.end] for span in DETECTOR.detect(text)] == [value]


@pytest.mark.parametrize(
    "text", ["insert into t (account_no) values", "insert into t (account_no) values ('1234567", "insert into t () values ('1')", "INSERT ('x')", "insert into t (x, account_no) values ('1')"]
)  # fmt: skip
def test_a_statement_that_ends_too_soon_tells_nothing(text: str) -> None:
    assert told(text) == []


def test_values_of_names_are_told_by_their_columns_in_a_statement() -> None:
    assert told("insert into t (name, age) values ('Ana', 3)", people=True) == ["氏名:Ana"]


@pytest.mark.parametrize(
    "text",
    [
        "<table><tr><th>口座番号</th><th>店</th></tr></table><table><tr><td>1234567</td><td>本店</td></tr></table>", "<tr><th>口座番号</th></tr><tr><td>1234567</td></tr>", "<tr><th>口座番号</th><th>x</th></tr><tr><td>1234567</td></tr>",
        "<tr><th>備考</th><th>数量</th></tr><tr><td>1234567</td><td>1</td></tr>", "copy t (account_no, x) from stdin;\n1234567\n", "COPY t (account_no) TO stdout;\n1234567\n", "insert into t values ('1234567');",
        "create table u (account_no text);\ninsert into t values ('1234567');", "    password  = x\n    1234567  = y\n", "口座番号  店\n\n1234567  本店\n",
    ],
)  # fmt: skip
def test_what_is_below_no_heading_is_told_by_none(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<table><thead><tr><th>品名</th><th>口座番号</th></tr></thead><tbody><tr><td>みかん</td><td class='n'><span>1234567 </span></td></tr></tbody></table>", "1234567"), ("<TR><TD>店</TD><TD>口座番号</TD></TR>\n<TR>\n<TD>本店</TD>\n<TD>\n1234567\n</TD></TR>", "1234567"),
        (" name | account_no \n------+------------\n ana  | 1234567\n(1 row)\n", "1234567"), ("COPY public.t (name, account_no) FROM stdin;\nana\t1234567\n\\.\n", "1234567"),
        ("CREATE TABLE IF NOT EXISTS `t` (\n `id` int(10,2),\n `account_no` varchar(7),\n PRIMARY KEY (`id`)\n);\nINSERT INTO `t` VALUES (1,NULL);\nINSERT INTO `t` VALUES (2,'1234567'),(3,NULL);", "1234567"),
        ("\\\\begin{tabular}\n店 & 口座番号 \\\\\\\\ \\\\hline\n本店 & 1234567 \\\\\\\\\n", "1234567"), ("NAME  ACCOUNT NUMBER   AGE\nana   1234567          3 y\n", "1234567"), ("id\tdbPassword\n1\tabc12345\n", "abc12345"), ("店,ログインPW\n本店,abc12345\n", "abc12345"),
        ("||店||口座番号||\n|本店|1234567|\n", "1234567"), ("   店  口座番号\n0  本店  1234567\n1  支店  x\n", "1234567"), ('店,口座番号\n="本店",="1234567"\n', "1234567"), ("名簿,,\n店,口座番号,品\n本店,1234567,x\n", "1234567"),
        ("時刻\t12桁の個人番号（必須）\n10:11\t123456789018\n", "123456789018"), ("店\t口座番号（7桁）を入力してください\n本店\t1234567\n", "1234567"),
    ],
)  # fmt: skip
def test_columns_of_html_of_dumps_and_of_what_programs_print_are_told(text: str, value: str) -> None:
    assert [text[span.start : span.end] for span in DETECTOR.detect(text)] == [value]


def test_a_row_that_begins_a_statement_is_read_once() -> None:
    assert told("copy t (account_no) from stdin;\ncopy t (account_no) from stdin;\n1234567\n") == ["account_no:1234567"]
