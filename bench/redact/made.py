"""Sentences with Japanese identifiers of every kind, valid ones, broken ones and look-alikes, made from a seed."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import random
from collections.abc import Callable
from dataclasses import dataclass

from sekisho.redact import checks
from sekisho.redact.categories import Category


@dataclass(frozen=True, slots=True)
class Planted:
    """A text, and where an item stands in it; no category: nothing may be found."""

    text: str
    start: int
    end: int
    category: Category | None


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _until(rng: random.Random, count: int, holds: Callable[[str], bool]) -> str:
    while True:
        value = _digits(rng, count)
        if holds(value):
            return value


def _group(rng: random.Random, digits: str, sizes: tuple[int, ...]) -> str:
    mark = rng.choice(["", "-", "-", " ", "ー", "−", "‐", "－"])
    parts, taken = [], 0
    for size in sizes:
        parts.append(digits[taken : taken + size])
        taken += size
    return mark.join(parts)


def _widen(rng: random.Random, value: str) -> str:
    if rng.random() < 0.7:
        return value
    return "".join(chr(ord(sign) + 0xFEE0) if "0" <= sign <= "9" or "A" <= sign <= "z" else sign for sign in value)


def _my_number(rng: random.Random) -> str:
    return _group(rng, _until(rng, 12, checks.is_my_number), (4, 4, 4))


def _phone(rng: random.Random) -> str:
    kind = rng.randrange(6)
    if kind == 0:
        return _group(rng, rng.choice(["070", "080", "090", "050"]) + _digits(rng, 8), (3, 4, 4))
    if kind == 1:
        return _group(rng, rng.choice(["03", "06"]) + rng.choice("345678") + _digits(rng, 7), (2, 4, 4))
    if kind == 2:
        return _group(rng, rng.choice(["045", "052", "075"]) + rng.choice("2345") + _digits(rng, 6), (3, 3, 4))
    if kind == 3:
        return (
            "+81" + rng.choice([" ", "-", ""]) + "90" + rng.choice(["-", " "]) + _digits(rng, 4) + "-" + _digits(rng, 4)
        )
    if kind == 4:
        return _group(rng, "0120" + _digits(rng, 6), (4, 3, 3))
    return f"({rng.choice(['03', '06'])}){rng.choice('345')}{_digits(rng, 3)}-{_digits(rng, 4)}"


_PLACES = [
    "東京都新宿区西新宿", "大阪府大阪市北区梅田", "北海道札幌市中央区北一条西", "神奈川県横浜市西区みなとみらい", "京都府京都市下京区烏丸通",
    "福岡県福岡市博多区博多駅前", "愛知県名古屋市中村区名駅", "さいたま市大宮区桜木町", "茨城県つくば市吾妻", "長野県北佐久郡軽井沢町軽井沢",
]  # fmt: skip


def _address(rng: random.Random) -> str:
    a, b, c = (str(rng.randint(1, 40)) for _ in range(3))
    return rng.choice(_PLACES) + rng.choice(
        [f"{a}-{b}-{c}", f"{a}丁目{b}番{c}号", f"{a}丁目{b}-{c}", f"{a}番地", f"{a}ー{b}"]
    )


def _card(rng: random.Random) -> str:
    digits = _until(rng, 16, lambda value: checks.is_card("4" + value[1:]))
    return _group(rng, "4" + digits[1:], (4, 4, 4, 4))


def _insurer(rng: random.Random) -> str:
    return _until(rng, 8, checks.is_luhn)


KINDS: dict[Category, tuple[Callable[[random.Random], str], list[str]]] = {
    Category.JP_MY_NUMBER: (_my_number, ["マイナンバーは{}です。", "個人番号：{}", "私のマイナンバー{}を登録", "番号は{}でした", "My Number: {}", "マイナンバーカードの番号{}", "個人番号（父）：{}", "12桁の番号 {} を確認"]),
    Category.JP_CORPORATE_NUMBER: (
        lambda r: _until(r, 13, checks.is_corporate_number), ["法人番号は{}です", "法人番号：{}", "登録番号T{}"]),
    Category.JP_DRIVERS_LICENCE: (
        lambda r: _until(r, 12, checks.is_drivers_licence), ["運転免許証番号は{}", "免許証の番号：{}です", "免許番号 {}"]),
    Category.JP_PASSPORT: (
        lambda r: r.choice(["TK", "TR", "MU", "TZ"]) + _digits(r, 7), ["パスポート番号は{}です", "旅券番号：{}", "passport no. {}"]),
    Category.JP_RESIDENCE_CARD: (
        lambda r: "".join(r.choices("ABCDEFGH", k=2)) + _digits(r, 8) + "".join(r.choices("ABCDEFGH", k=2)),
        ["在留カード番号は{}です", "在留カード：{}", "カードの番号が{}の方"]),
    Category.JP_PENSION_NUMBER: (
        lambda r: _group(r, _digits(r, 10), (4, 6)), ["基礎年金番号は{}です", "年金番号：{}", "年金手帳の番号{}"]),
    Category.JP_HEALTH_INSURANCE: (_insurer, ["保険者番号は{}です", "保険者番号：{}", "健康保険の保険者番号{}"]),
    Category.BANK_ACCOUNT: (
        lambda r: _digits(r, 7), ["口座番号は{}です", "普通預金 {}", "みずほ銀行 渋谷支店 普通 {}", "振込先口座：{}"]),
    Category.PHONE: (_phone, ["電話番号は{}です", "お電話{}まで", "TEL：{}", "携帯{}にかけて", "{}に折り返して", "FAX {}", "FAX番号：{}", "携帯電話番号 {}", "緊急連絡先（母）：{}"]),
    Category.JP_POSTAL_CODE: (
        lambda r: _group(r, _digits(r, 7), (3, 4)), ["〒{}", "郵便番号は{}です", "郵便番号：{}"]),
    Category.JP_ADDRESS: (_address, ["住所は{}です", "{}に住んでいます", "送付先：{}", "本社（{}）"]),
    Category.EMAIL: (
        lambda r: f"{r.choice(['taro.yamada', 'hanako', 'info+x', 'k_sato'])}{r.randint(1, 99)}@example.{r.choice(['co.jp', 'com', 'ne.jp'])}",
        ["メールは{}です", "連絡先：{}", "{}宛に送ってください"]),
    Category.CARD: (_card, ["カード番号は{}です", "クレジットカード {}", "{}で支払いました"]),
}  # fmt: skip


def _broken(rng: random.Random) -> str:
    return rng.choice([
        f"マイナンバーは{_until(rng, 12, lambda v: not checks.is_my_number(v))}です",
        f"法人番号は{_until(rng, 13, lambda v: not checks.is_corporate_number(v))}です",
        f"運転免許証番号は{_until(rng, 12, lambda v: not checks.is_drivers_licence(v))}です",
        f"カード番号は4{_until(rng, 15, lambda v: not checks.is_luhn('4' + v))}です",
        f"保険者番号は{_until(rng, 8, lambda v: not checks.is_luhn(v))}です",
    ])  # fmt: skip


def _alike(rng: random.Random) -> str:
    day = f"20{rng.randint(10, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return rng.choice([
        f"注文番号は{_digits(rng, 12)}です", f"伝票番号 {_group(rng, _digits(rng, 12), (4, 4, 4))}", f"{day}に開始した",
        f"{day} 12:34:56 のログ", f"バージョン{rng.randint(1, 9)}.{rng.randint(1, 20)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}",
        f"コミット {rng.getrandbits(160):040x}", f"品番：AB-{_digits(rng, 4)}-{_digits(rng, 4)}", f"JANコード 49{_digits(rng, 11)}",
        f"売上は{rng.randint(1, 999)},{_digits(rng, 3)},{_digits(rng, 3)}円", f"追跡番号：{_digits(rng, 11)}", f"第{rng.randint(1, 99)}条",
        f"型番 {_digits(rng, 3)}-{_digits(rng, 4)} を購入", f"id={rng.getrandbits(128):032x}", f"受付番号{_digits(rng, 10)}",
        f"{rng.randint(1, 12)}-{rng.randint(1, 5)}で勝った", f"ISBN 978-4-{_digits(rng, 4)}-{_digits(rng, 4)}-{_digits(rng, 1)}",
        f"受注番号 {_digits(rng, 12)}", f"請求No.{_digits(rng, 10)}", f"図面番号 {_group(rng, _digits(rng, 10), (3, 4, 3))}", f"ID:{_digits(rng, 12)}",
        f"配送番号{_group(rng, _digits(rng, 12), (4, 4, 4))}", f"トランザクションID {_digits(rng, 16)}", f"お客様番号：{_digits(rng, 10)}", f"型式{_digits(rng, 2)}-{_digits(rng, 4)}-{_digits(rng, 4)}",
        f"会員番号 {_digits(rng, 8)}", f"人口は{rng.randint(100, 999)}万{_digits(rng, 4)}人", f"タイムスタンプ 17{_digits(rng, 11)}",
    ])  # fmt: skip


def make(seed: int, each: int) -> list[Planted]:
    """Make `each` texts of every category, and four times as many with nothing to be found."""
    rng = random.Random(seed)  # noqa: S311 - made-up data
    made = []
    for category, (value_of, frames) in KINDS.items():
        for _ in range(each):
            value, frame = _widen(rng, value_of(rng)), rng.choice(frames)
            start = frame.index("{}")
            made.append(Planted(frame.format(value), start, start + len(value), category))
    for source in (_broken, _alike):
        made.extend(Planted(source(rng), 0, 0, None) for _ in range(2 * each))
    return made
