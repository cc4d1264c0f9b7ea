"""Runs of digits: look-alikes first."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from sekisho.redact.checks import is_drivers_licence
from sekisho.redact.custom import compile_custom
from sekisho.redact.detect import Detector
from tests.unit.redact.texts import found

LICENCE = next(f"3092123456{digit}0" for digit in range(10) if is_drivers_licence(f"3092123456{digit}0"))


@pytest.mark.parametrize(
    "text",
    [
        "注文番号は123456789018です", "伝票番号 1234 5678 9018", "マイナンバーは123456789012です", "2024-01-01に始めた",
        "2024-01-01 12:34:56.789", "202401311530の時点", "version 1.20.300.4000", "売上は123,456,789円", "人口は1億2345万6789人",
        "550e8400-e29b-41d4-a716-446655440000", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "AB-1234-5678", "v12345678901", "id_090123456789", "0.12345678901234", "ISBN 978-4-1234-5678-9", "JANコード 4912345678904",
        "追跡番号：09012345678", "1234567890123", "12345678901234567890123456789", "運転免許証は301234567899", "法人番号は1234567890123",
        "基礎年金番号は12345678901", "電話で2024-01-01に話した", "12345678901x", "000-12-3456", "1-2-3-4-5-6-7-8", "123-4567を買う",
        "注文 4111111111111111", "TK1234567", "XYZ 1234567", "AB1234567x", "電話 123456", "1111 1111 1111", "zip 12345678",
        "1000年代 2000年代", "A1234567890123", "1200-34-56-78", "+0123456789", "003-1234-5678", "銀行口座を20240101に開いた", "健康保険 06139997", "card 676770000000",
        "口座 1 2 3 4 5 6 7", "0-123-456-789", "01-2-3456-789", "012-345-67", "00-12-34", "0123456789x036y", "005 123 4567", "0012345678",
    ],
)  # fmt: skip
def test_look_alikes_pass(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("私のマイナンバーは１２３４ー５６７８ー９０１８です", "１２３４ー５６７８ー９０１８", "jp-my-number"),
        ("マイナンバー：1 2 3 4 5 6 7 8 9 0 1 8", "1 2 3 4 5 6 7 8 9 0 1 8", "jp-my-number"),
        ("番号123456789018", "123456789018", "jp-my-number"), ("マイナ番号 123456789018", "123456789018", "jp-my-number"), ("通知カード記載の番号0025-8257-8055", "0025-8257-8055", "jp-my-number"),
        ("license_number: " + LICENCE, LICENCE, "jp-drivers-licence"),
        ("個人no4111 1111 1111 1111", "4111 1111 1111 1111", "card"),
        ("法人番号は7000012050002", "7000012050002", "jp-corporate-number"),
        ("登録番号T7000012050002", "T7000012050002", "jp-corporate-number"),
        ("発行者 T7000012050002", "T7000012050002", "jp-corporate-number"),
        ("パスポートTR1234567を", "TR1234567", "jp-passport"), ("AB 12345678 CD", "AB 12345678 CD", "jp-residence-card"), ("免許 " + LICENCE, LICENCE, "jp-drivers-licence"), ("旅券 TK1234567", "TK1234567", "jp-passport"), ("passport: AB 1234567", "AB 1234567", "jp-passport"),
        ("passport 123456789", "123456789", "jp-passport"),
        ("AB12345678CD", "AB12345678CD", "jp-residence-card"), ("年金番号1234‐567890", "1234‐567890", "jp-pension-number"),
        ("普通 1234567", "1234567", "bank-account"),
        ("電話は０３−１２３４−５６７８です", "０３−１２３４−５６７８", "phone"), ("TEL03-1234-5678まで", "03-1234-5678", "phone"),
        ("03-1234-5678FAX", "03-1234-5678", "phone"), ("+81-90-1234-5678", "+81-90-1234-5678", "phone"),
        ("+81(0)90-1234-5678", "+81(0)90-1234-5678", "phone"), ("(03)1234-5678", "(03)1234-5678", "phone"),
        ("81-90-1234-5678", "81-90-1234-5678", "phone"), ("電話 0081-90-1234-5678", "0081-90-1234-5678", "phone"),
        ("090 1234 5678", "090 1234 5678", "phone"), ("0120-123-456", "0120-123-456", "phone"), ("call +44 20 7946 0958", "+44 20 7946 0958", "phone"),
        ("(555) 123-4567", "(555) 123-4567", "phone"), ("1-555-123-4567", "1-555-123-4567", "phone"), ("phone 60-56-85-91", "60-56-85-91", "phone"),
        ("order +81-90-1234-5678", "+81-90-1234-5678", "phone"), ("781 170 444 office", "781 170 444", "phone"),
        ("090-1234-5678（携帯）", "090-1234-5678", "phone"), ("1234567（電話）", "1234567", "phone"),
        ("2024-01-01 090-1234-5678", "090-1234-5678", "phone"),
        ("郵便番号：1000005", "1000005", "jp-postal-code"), ("100-0005 東京都", "100-0005", "jp-postal-code"),
        ("4111 1111 1111 1111", "4111 1111 1111 1111", "card"), ("カード 4111-11111111-1111", "4111-11111111-1111", "card"),
        ("123-45-6789", "123-45-6789", "us-ssn"), ("ssn 123456789", "123456789", "us-ssn"),
        ("運転免許証はないがマイナンバーは123456789018", "123456789018", "jp-my-number"),
    ],
)  # fmt: skip
def test_identifiers_are_found_in_every_form(text: str, value: str, category: str) -> None:
    assert found(text) == [(value, category)]


def test_numbers_side_by_side_are_told_apart() -> None:
    assert [kind for _, kind in found("123456789018 03-1234-5678 4111111111111111")] == [
        "jp-my-number",
        "phone",
        "card",
    ]


def test_a_detector_without_a_category_is_silent_about_it() -> None:
    assert Detector(frozenset(), compile_custom(["xx"], [])).detect("090-1234-5678") == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on my registered 024 971 50 30.", "024 971 50 30"), ("0961-7596216", "0961-7596216"), ("0044 20 7946 0958 please", "0044 20 7946 0958"),
        ("001-518-640-0854", "001-518-640-0854"), ("00 33 1 23 45 67 89", "00 33 1 23 45 67 89"), ("+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
        ("box 89\n28-64-66-98 office\n", "28-64-66-98"), ("order 5\n416 60 039 fax", "416 60 039"), ("it is 655 437 108 mobile", "655 437 108"),
        ("Fax: 463-612-6138x036", "463-612-6138x036"), ("555-123-4567 ext. 12", "555-123-4567 ext. 12"), ("03-1234-5678（内線123）", "03-1234-5678"),
        ("03-1234-5678 内線 123", "03-1234-5678 内線 123"), ("555-123-4567#99", "555-123-4567#99"),
    ],
)  # fmt: skip
def test_numbers_of_other_countries_and_extensions_are_found_whole(text: str, value: str) -> None:
    assert found(text) == [(value, "phone")]


@pytest.mark.parametrize(
    "text",
    ["受注番号 090-1234-5678", "請求No.0312345678", "受付ID 0312345678", "ID:123456789018", "id=123456789018", "配送番号1234-5678-9018", "会員No 0312345678",
     "商品コード 123456789018"],
)  # fmt: skip
def test_what_is_numbered_is_something_else(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("FAX番号：0312345678", "phone"), ("携帯電話番号 09012345678", "phone"), ("番号は123456789018", "jp-my-number"), ("no 090-1234-5678", "phone"),
        ("nobody 090-1234-5678", "phone"), ("valid 090-1234-5678", "phone"), ("カード 090-1234-5678", "phone"), ("id 090-1234-5678", "phone"),
        ("の番号は090-1234-5678", "phone"), ("マイナンバーカードの番号5035−6430−5202", "jp-my-number"), ("id123: 090-1234-5678", "phone"), ("番号090-1234-5678", "phone"), ("ガード 090-1234-5678", "phone"),
    ],
)  # fmt: skip
def test_a_number_of_which_nothing_else_is_said_is_judged_by_itself(text: str, category: str) -> None:
    assert [kind for _, kind in found(text)] == [category]


SYMBOLS = [
    "記号 {} 番号 {}",
    "記号：{}　番号：{}",
    "記号・番号：{}・{}",
    "記号番号 {}-{}",
    "記号{}、番号{}",
    "記号\u3000{}\n番号\u3000{}",
    "記号及び番号：{} {}",
]


@pytest.mark.parametrize("frame", SYMBOLS)
@pytest.mark.parametrize("wide", [False, True])
def test_a_symbol_and_a_number_are_what_the_words_around_say(frame: str, wide: bool) -> None:
    table = {ord(sign): ord(sign) + 0xFEE0 for sign in "0123456789"} if wide else {}
    for symbol, number, words, category in (
        ("1234", "567", "健康保険被保険者証\n", "jp-health-insurance"), ("70123456", "1", "国民健康保険\n", "jp-health-insurance"),
        ("12", "3456", "組合員証 ", "jp-health-insurance"), ("12340", "12345671", "", "bank-account"), ("123", "45678", "通帳の", "bank-account"),
    ):  # fmt: skip
        symbol, number = symbol.translate(table), number.translate(table)  # noqa: PLW2901 - as it is written
        assert found(words + frame.format(symbol, number)) == [(symbol, category), (number, category)]


@pytest.mark.parametrize(
    "text", ["記号 1234 番号 567", "記号の使い方は12 34", "健康保険の記号について", "部品の記号・番号：12-345"]
)
def test_symbols_of_which_no_word_tells_anything_are_none(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("key", ["account_number", "accountNumber", "bank_account", "ACCOUNT_NO", "acct"])
def test_keys_of_documents_are_read_as_words(key: str) -> None:
    assert found(f'{{"{key}": "1234567", "order_number": "7654321"}}') == [("1234567", "bank-account")]


def test_keys_that_say_something_else_are_no_words_for_it() -> None:
    assert found('{"discount_number": "1234567", "order_number": "123456789018", "accountable": "1234567"}') == []


@pytest.mark.parametrize(
    "address",
    ["さいたま市南区別所四ノ6", "長野県松本市丸の内六ノ15", "東京都港区芝2ノ3ノ4", "横浜市西区北幸1-2-3 さくら荘7F", "大阪市北区梅田三丁目4番5号 レジデンス東603号室", "川崎市高津区溝口三ノ24 ライオンズマンション本町1F"],
)  # fmt: skip
def test_blocks_in_kana_and_buildings_in_hiragana_are_part_of_an_address(address: str) -> None:
    assert found(f"住所は{address}") == [(address, "jp-address")]


@pytest.mark.parametrize(
    "subject",
    [
        "口座残高は",
        "預金",
        "口座数",
        "電話代 ",
        "携帯料金：",
        "振込先の手数料",
        "普通 ",
        "当座預金 ",
        "ゆうちょ ",
        "携帯契約数 ",
    ],
)
@pytest.mark.parametrize(
    "unit", ["円", " 円", "千円", "件", "万円", " 万円です", "人", "円税込", "人以上", " 人、", "%", " yen"]
)
def test_amounts_of_money_and_of_things_are_no_numbers_of_anything(subject: str, unit: str) -> None:
    for digits in ("1234567", "12345678"):
        assert found(f"{subject}{digits}{unit}") == []


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("口座番号1234567件名：入金", "bank-account"), ("普通1234567（個人）", "bank-account"), ("電話代表 03-1234-5678", "phone"), ("口座 1234567 人事部", "bank-account"),
        ("電話03-1234-5678円滑に", "phone"), ("口座名義 山田 1234567", "bank-account"), ("口座番号 1234567 円山支店", "bank-account"),
        ("口座番号 1234567 人見 太郎", "bank-account"), ("普通預金 1234567 万代支店", "bank-account"), ("口座番号 1234567 円建て", "bank-account"),
        ("口座番号1234567円貨", "bank-account"), ("口座番号 1234567 個別", "bank-account"), ("口座番号 1234567 ドルトムント", "bank-account"),
        ("郵便番号：103-0013 人形町", "jp-postal-code"), ("〒103-0013 人形町", "jp-postal-code"), ("〒1030013 万代", "jp-postal-code"),
        ("基礎年金番号 1234-567890 個人番号は後日", "jp-pension-number"), ("電話 276-7595 人見", "phone"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_count_behind_a_number_changes_nothing(text: str, category: str) -> None:
    assert [kind for _, kind in found(text)] == [category]


@pytest.mark.parametrize(
    ("text", "number", "category"),
    [("普通 1234567 20件", "1234567", "bank-account"), ("電話 12345678 90人", "12345678", "phone"), ("郵便番号 1234567 20件", "1234567", "jp-postal-code")],
)  # fmt: skip
def test_what_is_counted_behind_a_number_is_not_that_number(text: str, number: str, category: str) -> None:
    assert found(text) == [(number, category)]


@pytest.mark.parametrize("heading", ["口座残高", "口座数", "電話件数", "account balance", "phone model", "card type"])
def test_columns_of_amounts_are_none_of_numbers(heading: str) -> None:
    assert found(f"店名,{heading}\n本店,1234567\n北,7654321\n南,1122334\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "電話受付 1000〜2000", "営業 0900〜1700", "2024の1234の5678", "1234の5678の9018", "100の0001", "1234〜567890", "お茶 4912047089752", "口座番号 4912345678904",
        "口座を20240131153000に開設", "電話受付 17:00 1431-2711ページ", "電話 40.20372", "電話 10.0.29250.1847", "口座 10.0.29250.1847", "免許証番号 1234 5678 9018", "b6cd-ab03462744cf",
        "IBAN DE89 3704 0044 0532 0130 01", "カード番号 4510 1461 2257 9018", "9999 1234 5678 9018", "1234–5678 (9018", "arXiv:0805.20048", "JPY 1234567 振込", "振込額 JPY 1234567", "口座 JPY 1234567", "連絡先 20000527", "連絡先 1234567890123", "ヤマト運輸 1234-5678-9018",
        "1234-5678-9018（ゆうパック）", "型番 03-1234-5678",
    ],
)  # fmt: skip
def test_ranges_fractions_prices_and_bar_codes_pass(text: str) -> None:
    assert [item for item in found(text) if item[1] != "iban"] == []


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("電話は03の1234の5678です", "03の1234の5678", "phone"), ("携帯が090〜1234〜5678", "090〜1234〜5678", "phone"), ("TEL 0120~123~456", "0120~123~456", "phone"), ("SMSを0801234～5678に", "0801234～5678", "phone"),
        ("郵便番号100の0001です", "100の0001", "jp-postal-code"), ("〒は100の0001ですね", "100の0001", "jp-postal-code"), ("〒100〜0001", "100〜0001", "jp-postal-code"),
        ("マイナンバーは1234の5678の9018です", "1234の5678の9018", "jp-my-number"), ("年金番号 1234〜567890", "1234〜567890", "jp-pension-number"), ("カード 4111〜1111〜1111〜1111", "4111〜1111〜1111〜1111", "card"),
        ("口座番号____1234567", "1234567", "bank-account"), ("マイナンバー____123456789018", "123456789018", "jp-my-number"), ("旅券番号_____tk2103088", "tk2103088", "jp-passport"), ("在留 SHー61613756ーBU", "SHー61613756ーBU", "jp-residence-card"), ("口座 4111 1111 1111 1111", "4111 1111 1111 1111", "card"),
        ("TEL 17:00 03-1234-5678", "03-1234-5678", "phone"), ("（100-0001）東京都", "（100-0001", "jp-postal-code"), ("100ー0001 みどり市", "100ー0001", "jp-postal-code"), ("1000001 東京都千代田区", "1000001", "jp-postal-code"),
        ("普通 387-0633 広島県", "387-0633", "jp-postal-code"), ("100-0001, Japan", "100-0001", "jp-postal-code"), ("Tokyo 100-0001", "100-0001", "jp-postal-code"), ("被保険者番号：12345678", "12345678", "jp-health-insurance"),
        ("米国社会保障番号：149-56-3734", "149-56-3734", "us-ssn"), ("SSN149-56-3734", "149-56-3734", "us-ssn"), ("☎1234-5678", "1234-5678", "phone"), ("order 5\nDesk: 5403926876", "5403926876", "phone"), ("JAN 4912345678904\nカード 4111111111111111", "4111111111111111", "card"),
        ("個人番号カード 123-456-789-018", "123-456-789-018", "jp-my-number"), ("インボイス 7000012050002", "7000012050002", "jp-corporate-number"), ("TK1234567（旅券番号）", "TK1234567", "jp-passport"),
        ("年金手帳の記号番号 1234-567890", "1234-567890", "jp-pension-number"), ("+81.3.1234.5678", "+81.3.1234.5678", "phone"),
    ],
)  # fmt: skip
def test_identifiers_are_found_as_they_are_spoken_and_filled_in(text: str, value: str, category: str) -> None:
    assert found(text) == [(value, category)]


def test_what_is_behind_the_groups_of_an_iban_is_looked_at() -> None:
    assert found("DE89 3704 0044 0532 0130 01 03-1234-5678")[-1] == ("03-1234-5678", "phone")


def test_three_letters_begin_no_number() -> None:
    assert found("passport ABC1234567") == []
    assert found("passport No TK1234567") == [("TK1234567", "jp-passport")]


@pytest.mark.parametrize(
    "text", ["0123456789_x", "id_0312345678", "x_TK1234567_", "緊急連絡先\n2025-06-02 10:11:12 started", "IMEI 358094101234566", "353288112345677", "第301234567890号", "My passport was issued on 1962-04-08", "健康保険 ¥06139992", "携帯 2024-01-02 10"]
)  # fmt: skip
def test_tokens_moments_and_devices_pass(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("電話 ＿０３－１２３４－５６７８＿＿", "０３－１２３４－５６７８", "phone"), ("*電話* _03-1234-5678_", "03-1234-5678", "phone"), ("旅券番号 _TK1234567_ ", "TK1234567", "jp-passport"), ("在留カード _AB-12345678-CD__", "AB-12345678-CD", "jp-residence-card"),
        ("クレジットカード 4111111111111111（3回払い）", "4111111111111111", "card"), (f"番号 第 {LICENCE} 号", LICENCE, "jp-drivers-licence"), ("個人番号又は法人番号　123456789018", "123456789018", "jp-my-number"), ("個人番号又は法人番号　7000012050002", "7000012050002", "jp-corporate-number"),
        ("office 272-2480 大阪府吹田市", "272-2480", "jp-postal-code"), ("100 - 0001 東京都港区", "100 - 0001", "jp-postal-code"), ("1000001 東京都 港区", "1000001", "jp-postal-code"), ("A/C No. 1234567", "1234567", "bank-account"),
    ],
)  # fmt: skip
def test_numbers_are_found_where_forms_and_cards_print_them(text: str, value: str, category: str) -> None:
    assert found(text) == [(value, category)]
