"""Names with a space behind the surname."""

import pytest

from tests.unit.redact.lexicons import people

NAMES = "川崎 九条 ハヤシ ユイ 東 隼人 すずき"


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("川崎/PLACE _/SPACE 隆/GIVEN", ["川崎 隆"]),
        ("担当/NOUN は/OTHER 川崎/PLACE _/SPACE 隆/GIVEN です/OTHER", ["川崎 隆"]),
        ("秋山/SURNAME _/SPACE 月/NOUN", ["秋山 月"]),
        ("秋山/SURNAME _/SPACE 岳/NOUN", ["秋山 岳"]),
        ("高橋/SURNAME _/SPACE 朝陽/NOUN", ["高橋 朝陽"]),
        ("飯田/SURNAME _/SPACE 隼人/PLACE", ["飯田 隼人"]),
        ("四十万/PLACE _/SPACE 譲/GIVEN", ["四十万 譲"]),
        ("九/NUMBER 条/NOUN _/SPACE 航/GIVEN さん/SUFFIX", ["九条 航"]),
        ("ハヤシ/NOUN _/SPACE ユイ/GIVEN", ["ハヤシ ユイ"]),
        ("すずき/SURNAME _/SPACE たろう/OTHER", ["すずき たろう"]),
        ("森/SURNAME _/SPACE あかり/NOUN", ["森 あかり"]),
        ("東/NOUN _/SPACE 克/NOUN 己/NOUN _/SPACE", []),
    ],
)
def test_a_space_tells_where_the_surname_ends(notation: str, expected: list[str]) -> None:
    assert people(notation, names=NAMES) == expected


@pytest.mark.parametrize(
    "notation",
    [
        "東京/PLACE _/SPACE 開設/NOUN",
        "大阪/PLACE _/SPACE 行/SUFFIX",
        "川崎/PLACE _/SPACE 工場/NOUN",
        "川崎/PLACE _/SPACE 部長/NOUN",
        "川崎/PLACE _/SPACE 作家/NOUN",
        "川崎/PLACE __/SPACE 月/NOUN",
        "川崎/PLACE _/SPACE /SIGN",
        "川崎/PLACE _/SPACE 支/NOUN 店/NOUN 開/NOUN 設/NOUN",
        "川崎/PLACE _/SPACE 営業/NOUN 推進/NOUN",
        "支店/NOUN 川崎/PLACE _/SPACE 開設/NOUN",
        "川崎/PLACE 開/NOUN 設/NOUN 式/NOUN _/SPACE 隆/GIVEN",
        "ハヤシ/NOUN _/SPACE ライス/NOUN",
        "カメラ/NOUN _/SPACE ユイ/GIVEN",
        "みかん/NOUN _/SPACE りんご/NOUN",
        "A/NOUN _/SPACE 月/NOUN",
        "川崎/PLACE _/SPACE ライン/OTHER",
        "川崎/PLACE",
    ],
)
def test_words_with_a_space_between_are_no_names(notation: str) -> None:
    assert not any(" " in name for name in people(notation, names=NAMES))
