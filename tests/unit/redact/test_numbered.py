"""Numbers that only a word before makes what they are, written as forms, tables, keys and scans write them."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from tests.unit.redact.texts import found

INSURANCE = "jp-health-insurance"


@pytest.mark.parametrize(
    "text",
    [
        "保険証の保険者番号：06139993", "insurer number: 06139993", "保険者No. 139999", "雇用保険被保険者番号：1234-567890-1", "被保険者番号は後日お知らせします",
        "<insured_number>", "</insured_number>\n  <bank>4068385</bank>", "hihokensha_bango, isbn13", "被保険者番号の欄に1名と書く", "保険証番号：1234567円",
        "0123(被保険者番号と保険者番号)", "1（被保険者番号）", "06139990（保険者番号）", "年金の記号番号 12345678", "記号番号",
        "被保険者証の記号：後日",
    ],
)  # fmt: skip
def test_what_words_for_insurance_do_not_number_passes(text: str) -> None:
    assert INSURANCE not in [kind for _, kind in found(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("被保険者番号：1234567", "1234567"), ("被保険者証の番号\n> 1234", "1234"), ("保険証番号（必須）：4567", "4567"), ("保険証番号※必須:4567", "4567"),
        ("<dt>被保険者番号</dt><dd>9212890</dd>", "9212890"), ("<th>保険証の番号</th>\n<td>\n4488\n</td>", "4488"),
        ('<label>被保険者番号</label><input type="text" name="f" value="086">', "086"), ("健康保険証番号                 1944", "1944"),
        ("被保険 者番号 ： 549580", "549580"), ("5025（被保険者証の番号）", "5025"), ("【被保険者番号】62997218", "62997218"),
        ("Health Insurance No. 8693", "8693"), ("health_insurance_number: 869", "869"), ("Insured Person Number: 62997218", "62997218"), ('"hihokensha_bango": "1813801"', "1813801"),
        ("HOKENSHO_NO=2017241", "2017241"), ("insurer_number='06139992'", "06139992"), ("hokensya_bango: 139998", "139998"), ("保険者No.：06139992", "06139992"),
        ("被保険者証の記号番号：88394", "88394"), ("保 険者番号 06139992", "06139992"), ("社会保険の記号番号：12345", "12345"), ('["保険証番号", "281196"]', "281196"),
    ],
)  # fmt: skip
def test_numbers_of_the_insured_are_found_in_every_layout(text: str, value: str) -> None:
    assert found(text) == [(value, INSURANCE)]


@pytest.mark.parametrize(
    ("text", "symbol", "number"),
    [
        ("健保 記号7538・73 番号２６６０", "7538・73", "２６６０"), ("保険証（記号2572・06番号368）", "2572・06", "368"), ("健康保険証 記号：千代田69　番号：009", "千代田69", "009"),
        ("被保険者証の記号 あ78　番号 126", "あ78", "126"), ("健康保険被保険者証\n記号　81－61\n番号　043290", "81－61", "043290"), ("社会保険 記号-番号 61346 - 763", "61346", "763"),
        ("保険情報 記号・番号: 1235／308", "1235", "308"), ("被保険者証記号：12\n被保険者証番号：3456", "12", "3456"),
        ("|保険者番号|記号|番号|枝番|\n|---|---|---|---|\n|06139992|9446・63|5197|01|", "9446・63", "5197"),
    ],
)  # fmt: skip
def test_symbols_with_several_parts_are_found_with_their_numbers(text: str, symbol: str, number: str) -> None:
    assert [item for item in found(text) if item[0] != "06139992"] == [(symbol, INSURANCE), (number, INSURANCE)]


def test_an_account_of_the_post_bank_is_found_without_its_words_for_symbol_and_number() -> None:
    assert found("ゆうちょ　10390 57437981") == [("10390 57437981", "bank-account")]
    assert found("ゆうちょ銀行 記号：18750 番号：4130841") == [("18750", "bank-account"), ("4130841", "bank-account")]


def test_below_the_heading_of_another_column_stands_no_number_of_an_insured() -> None:
    text = "|生年月日|被保険者番号|\n|:--|:--|\n|2001-01-11|300336|"
    assert found(text) == [("300336", INSURANCE)]


def test_words_said_between_the_insured_and_their_numbers_are_passed_over() -> None:
    assert [value for value, _ in found("保険証は記号が08-28、番号が50913です。")] == ["08-28", "50913"]
    assert found("Her insured number is now 629949.") == [("629949", "jp-health-insurance")]
    assert found("insuredPersonNumber: 629949") == [("629949", "jp-health-insurance")]
    assert (
        found('{"key": "insurer_no",\n "value": "345371"}')
        == found("Q: 保険者番号は？\nA: 345371")
        == [("345371", "jp-health-insurance")]
    )
    assert found("Please use 62994912 as the Health Insurance Number.") == [("62994912", "jp-health-insurance")]
    assert found("hokensha_no=06139992") == [("06139992", "jp-health-insurance")]
