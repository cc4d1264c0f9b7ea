"""Which words of Japanese are people, by what stands beside them."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from tests.unit.redact.lexicons import people


@pytest.mark.parametrize(
    "notation",
    [
        "田中/SURNAME 町/NOUN に/OTHER", "田中/SURNAME 製薬/NOUN は/OTHER", "株式会社/NOUN 田中/SURNAME は/OTHER", "乃木坂/SURNAME 46/NUMBER! の/OTHER",
        "田中/SURNAME 記念/NOUN 会/NOUN が/OTHER", "瞬/GIVEN 冷凍/NOUN は/OTHER", "鶴/GIVEN の/OTHER", "時間/NOUN は/OTHER", "Voice/NAME Stream/NOUN",
        "林/NOUN の/OTHER", "石/NOUN 材料/NOUN が/OTHER", "江戸/PLACE 時代/NOUN に/OTHER", "渋谷/PLACE に/OTHER", "渋谷/PLACE 駅/NOUN は/OTHER",
    ],
)  # fmt: skip
def test_names_of_firms_places_and_things_are_no_people(notation: str) -> None:
    assert people(notation, names="林 石 江戸 渋谷") == []


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("山田/SURNAME 太郎/GIVEN です/OTHER", ["山田太郎"]),
        ("山田/SURNAME _/SPACE 太郎/GIVEN です/OTHER", ["山田 太郎"]),
        ("山田/SURNAME _/SPACE さくら/NOUN は/OTHER", ["山田 さくら"]),
        ("奈良/PLACE 竜樹/GIVEN に/OTHER", ["奈良竜樹"]), ("車/NOUN 吉章/GIVEN は/OTHER", ["車吉章"]), ("妻/NOUN 花子/GIVEN は/OTHER", ["花子"]),
        ("愛犬/NOUN 太郎/GIVEN は/OTHER", ["太郎"]),
        ("山田/SURNAME _/SPACE さくら/NOUN 組/NOUN", ["山田"]),
        ("山田/SURNAME _/SPACE は/OTHER", ["山田"]),
        ("山田/SURNAME _/SPACE 維新/NOUN は/OTHER", ["山田 維新"]),
        ("佐藤/SURNAME 部長/NOUN と/OTHER 鈴木/SURNAME さん/SUFFIX", ["佐藤", "鈴木"]),
        ("佐藤/SURNAME 大学/NOUN 教授/NOUN は/OTHER", ["佐藤"]),
        ("佐藤/SURNAME 上院/NOUN 議員/NOUN は/OTHER", ["佐藤"]),
        ("前川/SURNAME 國男/GIVEN 建築/NOUN 事務所/NOUN", ["前川國男"]),
        ("佐藤/SURNAME 案/NOUN は/OTHER", ["佐藤"]),
    ],
)  # fmt: skip
def test_names_that_the_dictionary_has_are_people(notation: str, expected: list[str]) -> None:
    assert people(notation, names="さくら 維新") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("岡田/PLACE 社長/NOUN が/OTHER", ["岡田"]),
        ("茂木/PLACE 航海/NOUN 長/SUFFIX は/OTHER", ["茂木"]),
        ("﨑山/NOUN! 様/SUFFIX", ["﨑山"]),
        ("島/NOUN さん/SUFFIX", ["島"]),
        ("島/NOUN 社長/NOUN が/OTHER", ["島"]),
        ("奈良/PLACE 竜/NOUN 樹/SUFFIX に/OTHER", ["奈良竜樹"]),
        ("林/NOUN 文/NOUN 察/NOUN は/OTHER", ["林文察"]),
        ("金/NOUN 載昊/NOUN! と/OTHER", ["金載昊"]),
        ("社長/NOUN の/OTHER 金/NOUN 載昊/NOUN! と/OTHER", ["金載昊"]),
        ("銀/NOUN 載昊/NOUN! と/OTHER", []),
        ("全国/NOUN 金/NOUN 載昊/NOUN! と/OTHER", []),
        ("女優/NOUN 甲田/PLACE は/OTHER", ["甲田"]),
        ("研究/NOUN 者/SUFFIX 甲田/PLACE は/OTHER", ["甲田"]),
        ("社長/NOUN の/OTHER 﨑山/NOUN! は/OTHER", ["﨑山"]),
        ("社長/NOUN の/OTHER 甲田/PLACE で/OTHER", []),
        ("鹿島/PLACE が/OTHER", ["鹿島"]),
        ("東京/PLACE 鹿島/PLACE が/OTHER", []),
        ("昨日/NOUN 鹿島/PLACE と/OTHER", ["鹿島"]),
        ("・/SIGN 鹿島/PLACE が/OTHER", []),
        ("楊/SURNAME 秀麗/NOUN に/OTHER", ["楊"]),
        ("蔡/SURNAME 長庚/NOUN! は/OTHER", ["蔡長庚"]),
        ("伊藤/SURNAME 穣/NOUN 一/NUMBER! の/OTHER", ["伊藤穣一"]),
        ("西村/SURNAME 正/GIVEN 暘/NOUN! の/OTHER", ["西村正暘"]),
        ("西村/SURNAME 正/GIVEN 社/NOUN の/OTHER", ["西村正"]),
        ("髙橋/NOUN! 秀雄/GIVEN が/OTHER", ["髙橋秀雄"]),
        ("韓国/COUNTRY 瑜美/GIVEN は/OTHER", ["瑜美"]),
        ("土/NOUN 宮/SUFFIX 明日架/GIVEN は/OTHER", ["土宮明日架"]),
        ("大阪/PLACE 土/NOUN 宮/SUFFIX 明日架/GIVEN は/OTHER", ["明日架"]),
        ("寒田/PLACE 親将/GIVEN など/OTHER", ["寒田親将"]),
        ("長男/NOUN 信勝/GIVEN は/OTHER", ["信勝"]),
        ("長/NOUN い/OTHER", []),
        ("大日本/NOUN 帝国/NOUN 信勝/GIVEN は/OTHER", ["信勝"]),
        ("楊/SURNAME 社長/NOUN は/OTHER", ["楊"]),
        ("千/GIVEN さん/SUFFIX", ["千"]),
        ("さくら/NOUN ちゃん/SUFFIX と/OTHER", ["さくら"]),
        ("わん/NOUN ちゃん/SUFFIX と/OTHER", []),
        ("作家/NOUN 千/GIVEN は/OTHER", ["千"]),
    ],
)  # fmt: skip
def test_neighbours_tell_what_the_dictionary_does_not(notation: str, expected: list[str]) -> None:
    names = "さくら 岡田 茂木 島 奈良 林 文察 金 銀 甲田 鹿島 東京 寒田 石"
    assert people(notation, names=names) == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("ジョン/NAME ・/SIGN スミス/NAME は/OTHER", ["ジョン・スミス"]),
        ("ダニス/NOUN! ・/SIGN タノヴィッチ/NOUN! は/OTHER", ["ダニス・タノヴィッチ"]),
        ("ジョン/NAME ・/SIGN F/NOUN ・/SIGN ケネディ/NAME は/OTHER", ["ジョン・F・ケネディ"]),
        ("J/NOUN ・/SIGN K/NOUN ・/SIGN ローリング/NOUN は/OTHER", ["J・K・ローリング"]),
        ("J/NOUN ・/SIGN リーグ/NOUN は/OTHER", []),
        ("J/NOUN ・/SIGN K/NOUN は/OTHER", []),
        ("J/NOUN は/OTHER", []),
        ("アスター/NOUN! 4/NUMBER 世/SUFFIX は/OTHER", ["アスター4世"]),
        ("レッド/NOUN ・/SIGN カード/NOUN は/OTHER", []),
        ("ザ/NOUN ・/SIGN ビートルズ/NAME は/OTHER", []),
        ("マイルス/NAME ・/SIGN グループ/NOUN は/OTHER", []),
        ("マイルス/NAME ・/SIGN レイク/NOUN は/OTHER", ["マイルス・レイク"]),
        ("スティーヴ/NAME ・/SIGN エリクソン/PROPER は/OTHER", ["スティーヴ・エリクソン"]),
        ("ソニー/PROPER ・/SIGN エリクソン/NAME は/OTHER", []),
        ("オーストリア/COUNTRY ・/SIGN ダイムラー/NAME は/OTHER", []),
        ("ボルチモア/PLACE ・/SIGN レイヴン/NOUN! は/OTHER", []),
        ("タンパベイ/NOUN! ・/SIGN レイズ/NOUN へ/OTHER", []),
        ("ヴェルダー/NOUN! ・/SIGN ブレーメン/PLACE へ/OTHER", []),
        ("ペレア/NOUN! ・/SIGN ワシントン/PLACE へ/OTHER", ["ペレア・ワシントン"]),
        ("スミス/NAME は/OTHER", ["スミス"]),
        ("スミス/NAME 太郎/GIVEN は/OTHER", ["スミス太郎"]),
        ("ノーベル/NAME ショー/NOUN は/OTHER", []),
        ("デヴォー/NOUN! 中佐/NOUN は/OTHER", ["デヴォー"]),
        ("ソウル/PLACE さん/SUFFIX", ["ソウル"]),
        ("カメラ/NOUN 中佐/NOUN は/OTHER", []),
        ("哲学/NOUN 者/SUFFIX シセラ/NOUN! は/OTHER", ["シセラ"]),
        ("レイブン/NOUN! は/OTHER", ["レイブン"]),
        ("「/SIGN レイブン/NOUN! は/OTHER", []),
        ("銀行/NOUN レイブン/NOUN! は/OTHER", []),
        ("レイブン/NOUN! 銀行/NOUN", []),
        ("フェスタカー/NOUN! は/OTHER", []),
        ("アナフェスタ/NOUN! は/OTHER", []),
        ("コアメンバーズカー/NOUN! は/OTHER", []),
        ("フォード/PROPER は/OTHER", []),
        ("フォード/PROPER で/OTHER", []),
        ("カル/NOUN! は/OTHER", []),
        ("プラント/NOUN は/OTHER", []),
        ("昨日/NOUN の/OTHER レイブン/NOUN!", ["レイブン"]),
        ("昨日/NOUN の/OTHER ワシントン/PLACE", []),
        ("昨日/NOUN の/OTHER プラント/NOUN", []),
    ],
)  # fmt: skip
def test_foreign_names_are_told_from_teams_and_things(notation: str, expected: list[str]) -> None:
    names = "フォード レイク ワシントン ソウル プラント"
    assert people(notation, names=names, nouns="フェスタ") == expected


def test_a_players_position_is_what_somebody_is() -> None:
    assert people("GK/NOUN 奈良/PLACE 竜/NOUN! に/OTHER", names="奈良") == ["奈良竜"]


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("九/NUMBER 条/NOUN 教授/NOUN が/OTHER", ["九条"]),
        ("一色/NOUN 社長/NOUN が/OTHER", ["一色"]),
        ("島/NOUN 課長/NOUN が/OTHER", ["島"]),
        ("西/NOUN 課長/NOUN が/OTHER", ["西"]),
        ("一色/NOUN 館/SUFFIX 長/SUFFIX が/OTHER", []),
        ("本田/PLACE 主査/NOUN と/OTHER", ["本田"]),
        ("本田/PROPER 係/NOUN 長/SUFFIX が/OTHER", ["本田"]),
        ("島/PREFIX 先生/NOUN が/OTHER", ["島"]),
        ("四十万/PLACE 氏/SUFFIX が/OTHER", ["四十万"]),
        ("娘/NOUN の/OTHER あかり/NOUN さん/SUFFIX", ["あかり"]),
        ("友達/NOUN の/OTHER ひなた/NOUN くん/SUFFIX", ["ひなた"]),
        ("竹内/SURNAME 煌/NOUN (/SIGN", ["竹内煌"]),
        ("森田/SURNAME ひなた/NOUN が/OTHER", ["森田ひなた"]),
        ("森田/SURNAME ひなた/NOUN 案/NOUN", ["森田"]),
        ("社長/NOUN 森田/SURNAME _/SPACE 花子/GIVEN が/OTHER", ["森田 花子"]),
    ],
)
def test_titles_and_ends_make_names_of_common_words(notation: str, expected: list[str]) -> None:
    assert people(notation, names="九条 一色 本田 島 西") == expected


@pytest.mark.parametrize(
    "notation",
    [
        "神/NOUN 様/SUFFIX に/OTHER",
        "花屋/NOUN さん/SUFFIX に/OTHER",
        "宮内/NOUN 大臣/NOUN が/OTHER",
        "前/NOUN 社長/NOUN が/OTHER",
        "町/NOUN 会長/NOUN が/OTHER",
        "西/NOUN 館長/NOUN が/OTHER",
        "全国/NOUN 一色/NOUN 社長/NOUN が/OTHER",
        "一色/NOUN 係/NOUN が/OTHER",
        "女性/NOUN 社長/NOUN が/OTHER",
        "一/NOUN 二/NOUN 三/NOUN 四/NOUN 社長/NOUN が/OTHER",
        "りんご/NOUN 社長/NOUN が/OTHER",
        "店/NOUN の/OTHER りんご/NOUN さん/SUFFIX",
        "四/PLACE 氏/SUFFIX が/OTHER",
    ],
)
def test_titles_make_no_names_of_what_nobody_is_called(notation: str) -> None:
    assert people(notation, names="神 花屋 宮内 前 町 西 一色 一二三四") == []


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("姉/NOUN の/OTHER ゆり/NOUN に/OTHER", ["ゆり"]), ("長女/NOUN さつき/NOUN は/OTHER", ["さつき"]), ("主人公/NOUN ・/SIGN ゆり/NOUN を/OTHER", ["ゆり"]),
        ("姉/NOUN の/OTHER ため/NOUN に/OTHER", []), ("姉/NOUN の/OTHER うた/NOUN は/OTHER", []), ("庭/NOUN の/OTHER ゆり/NOUN は/OTHER", []),
        ("姉/NOUN の/OTHER ゆり/NOUN 園/NOUN は/OTHER", []),
    ],
)  # fmt: skip
def test_names_in_kana_that_are_common_words_stand_behind_whose_they_are(notation: str, expected: list[str]) -> None:
    assert people(notation, names="ゆり さつき ため") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("編集/NOUN 長/SUFFIX の/OTHER 松本/PLACE に/OTHER", ["松本"]), ("社長/NOUN の/OTHER 松本/PLACE で/OTHER", []),
        ("隊長/NOUN で/OTHER ある/OTHER 山形/NOUN が/OTHER", ["山形"]), ("隊長/NOUN だっ/OTHER た/OTHER 山形/NOUN が/OTHER", ["山形"]),
        ("仲間/NOUN ・/SIGN 松本/PLACE 、/SIGN", ["松本"]), ("本社/NOUN ・/SIGN 松本/PLACE 、/SIGN", []), ("地名/NOUN で/OTHER ある/OTHER 山形/NOUN が/OTHER", []),
        ("部長/NOUN の/OTHER 峰/NOUN が/OTHER", ["峰"]), ("部長/NOUN の/OTHER 峰/NOUN で/OTHER", []), ("部長/NOUN の/OTHER 机/NOUN が/OTHER", []),
        ("部長/NOUN の/OTHER 瞳/NOUN が/OTHER", []), ("部長/NOUN の/OTHER 秋山/NOUN! で/OTHER", ["秋山"]), ("俳優/NOUN 峰/NOUN が/OTHER", []),
    ],
)  # fmt: skip
def test_what_somebody_is_tells_a_surname_that_is_another_word_as_well(notation: str, expected: list[str]) -> None:
    assert people(notation, names="松本 山形 峰 机 瞳", surnames="松本 山形 峰 机") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("島/NOUN 、/SIGN 池田/SURNAME 、/SIGN 峰/NOUN の/OTHER 3/NUMBER 人/SUFFIX が/OTHER", ["島", "池田", "峰"]),
        ("池田/SURNAME と/OTHER 島/NOUN ら/SUFFIX が/OTHER", ["池田", "島"]), ("池田/SURNAME と/OTHER 島/NOUN と/OTHER 木村/SURNAME は/OTHER", ["池田", "島", "木村"]),
        ("池田/SURNAME と/OTHER 島/NOUN に/OTHER", ["池田"]), ("池田/SURNAME と/OTHER 島/NOUN の/OTHER 3/NUMBER 倍/SUFFIX が/OTHER", ["池田"]), ("池田/SURNAME と/OTHER 島/NOUN の/OTHER 花/NOUN が/OTHER", ["池田"]),
        ("森/NOUN 、/SIGN 島/NOUN の/OTHER 3/NUMBER 人/SUFFIX が/OTHER", []), ("スミス/NAME 、/SIGN 島/NOUN ら/SUFFIX が/OTHER", ["スミス"]),
        ("池田/SURNAME 、/SIGN 出席予定者/NOUN ら/SUFFIX が/OTHER", ["池田"]),
    ],
)  # fmt: skip
def test_a_list_of_people_tells_what_else_is_one(notation: str, expected: list[str]) -> None:
    assert people(notation, names="島 峰 森 出席予定者") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("伊藤/SURNAME 穣/GIVEN 一/NUMBER! の/OTHER", ["伊藤穣一"]), ("伊藤/SURNAME 穣/GIVEN 12/NUMBER の/OTHER", []),
        ("市川/PLACE 紀元/NOUN 二/NUMBER! は/OTHER", ["市川紀元二"]), ("市川/PLACE 第/PREFIX 十二/NUMBER は/OTHER", []), ("市川/PLACE 紀元/NOUN 太/NOUN は/OTHER", ["市川紀元太"]),
        ("市川/PLACE 啓示/NOUN 様/SUFFIX の/OTHER", ["市川啓示"]), ("市川/PLACE 啓示/NOUN の/OTHER", []), ("市川/PLACE 商店/NOUN 様/SUFFIX の/OTHER", []), ("市川/PLACE 県民/NOUN 様/SUFFIX の/OTHER", []),
        ("市川/PLACE さくら/NOUN は/OTHER", ["市川さくら"]), ("市川/PLACE ひなた/NOUN は/OTHER", []), ("市川/PLACE ひなた/NOUN 氏/SUFFIX は/OTHER", ["市川ひなた"]),
        ("夫/NOUN の/OTHER 市川/PLACE ひなた/NOUN は/OTHER", ["市川ひなた"]), ("市川/PLACE さくら/NOUN 園/NOUN は/OTHER", []), ("後藤/SURNAME 啓示/NOUN さん/SUFFIX は/OTHER", ["後藤啓示"]),
    ],
)  # fmt: skip
def test_the_end_of_a_given_name_and_what_follows_tell_where_it_stands(notation: str, expected: list[str]) -> None:
    assert people(notation, names="市川 さくら") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("ビル/NOUN ・/SIGN クリントン/NAME は/OTHER", ["ビル・クリントン"]), ("ビル/NOUN ・/SIGN ロマス/NOUN! は/OTHER", ["ビル・ロマス"]), ("ビル/NOUN ・/SIGN メンテナンス/NOUN は/OTHER", []),
        ("マイルス/NAME ・/SIGN グループ/NOUN は/OTHER", []), ("フレデリック/NAME ・/SIGN マイルズ/NOUN! は/OTHER", ["フレデリック・マイルズ"]), ("マイルス/NAME ・/SIGN ブルズ/NOUN は/OTHER", []),
        ("アレクサンドル/NAME ゠/SIGN コルテス/NOUN! は/OTHER", ["アレクサンドル゠コルテス"]),
        ("酋長/NOUN ソラノ/PROPER が/OTHER", ["ソラノ"]), ("社長/NOUN の/OTHER ソラノ/PROPER が/OTHER", []),
        ("クレーマー/NOUN 家/SUFFIX で/OTHER", ["クレーマー"]), ("クレーマー/NOUN 家/NOUN で/OTHER", []), ("マンション/NOUN 家/SUFFIX で/OTHER", []),
        ("イブラヒモビッチ/NOUN! が/OTHER", ["イブラヒモビッチ"]), ("イブラヒモビット/NOUN! が/OTHER", []), ("レゴラ/NOUN! で/OTHER", []), ("ハンソン/NOUN! で/OTHER", ["ハンソン"]),
        ("クレーマー/NOUN 選手/NOUN が/OTHER", []), ("クレーマー/NOUN 部長/NOUN が/OTHER", []), ("クレーマー/NOUN さん/SUFFIX が/OTHER", ["クレーマー"]),
        ("ボストン/PLACE 女優/NOUN が/OTHER", []), ("ボストン/PLACE 大統領/NOUN が/OTHER", ["ボストン"]),
    ],
)  # fmt: skip
def test_what_foreign_names_are_made_of_tells_them_from_things(notation: str, expected: list[str]) -> None:
    assert people(notation, names="ビル グループ クレーマー ボストン") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("昭和/PROPER 天皇/NOUN の/OTHER", ["昭和"]), ("長屋/PLACE 王/NOUN は/OTHER", ["長屋"]), ("歴代/NOUN 天皇/NOUN は/OTHER", []), ("日本/COUNTRY 長屋/PLACE 王/NOUN は/OTHER", []),
        ("翌年/NOUN 長屋/PLACE 王/NOUN が/OTHER", ["長屋"]), ("近江/PLACE 王/NOUN が/OTHER", []), ("後白河/NAME 院/SUFFIX は/OTHER", ["後白河"]), ("佐藤/SURNAME 院/SUFFIX は/OTHER", []),
        ("池田/PLACE 讃岐/PLACE 守/NOUN の/OTHER", ["池田"]), ("成田/PLACE 大蔵/NOUN 少輔/NOUN は/OTHER", ["成田"]), ("近江/PLACE 讃岐/PLACE 守/NOUN の/OTHER", []), ("池田/PLACE 城/SUFFIX 守/NOUN の/OTHER", []),
    ],
)  # fmt: skip
def test_ranks_at_a_court_tell_who_has_them(notation: str, expected: list[str]) -> None:
    assert people(notation, names="昭和 長屋 歴代", nouns="歴代", surnames="池田 成田") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("豪/NOUN 助/NOUN は/OTHER", ["豪助"]), ("株/NOUN 之/OTHER 助/NOUN を/OTHER", ["株之助"]), ("救助/NOUN は/OTHER", []), ("相互/NOUN 扶助/NOUN 基金/NOUN は/OTHER", []),
        ("相互/NOUN 幇助/NOUN は/OTHER", []), ("自力/NOUN 自存/NOUN 扶助/NOUN は/OTHER", []), ("豪/NOUN 助/NOUN で/OTHER", []), ("費用/NOUN /SIGN", []), ("本店/NOUN 一/NUMBER 豪/NOUN 助/NOUN は/OTHER", []),
    ],
)  # fmt: skip
def test_names_that_the_dictionary_cuts_end_as_mens_do(notation: str, expected: list[str]) -> None:
    assert people(notation) == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("孝宗/PROPER は/OTHER", ["孝宗"]), ("孝宗/PROPER に/OTHER", []), ("天平/PROPER が/OTHER", []), ("王朝/NOUN 孝宗/PROPER は/OTHER", []), ("晩年/NOUN 孝宗/PROPER は/OTHER", ["孝宗"]), ("宗/PROPER は/OTHER", []),
        ("舞/GIVEN が/OTHER", ["舞"]), ("舞/GIVEN を/OTHER", []), ("清/GIVEN が/OTHER", []), ("主役/NOUN 舞/GIVEN が/OTHER", []), ("名/NAME が/OTHER", []),
    ],
)  # fmt: skip
def test_names_that_act_alone_are_people(notation: str, expected: list[str]) -> None:
    assert people(notation, names="孝宗 天平 宗", nouns="天平") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("善光寺/SURNAME は/OTHER", []), ("白木屋/SURNAME の/OTHER", []), ("西園寺/SURNAME は/OTHER", ["西園寺"]), ("土屋/SURNAME は/OTHER", ["土屋"]), ("白木屋/SURNAME さん/SUFFIX は/OTHER", ["白木屋"]),
        ("れん/NOUN あい/GIVEN は/OTHER", []), ("あい/GIVEN は/OTHER", ["あい"]), ("けん/GIVEN きゅう/NOUN は/OTHER", []), ("お/PREFIX けん/GIVEN は/OTHER", []), ("妹/NOUN あい/GIVEN は/OTHER", ["あい"]),
        ("田中/SURNAME 歯科/NOUN は/OTHER", []), ("江戸/PLACE 時代/NOUN は/OTHER", []), ("太平/PLACE 洋/NOUN は/OTHER", []), ("課長/NOUN の/OTHER 善光寺/SURNAME が/OTHER", ["善光寺"]), ("市川/SURNAME 洋/NOUN は/OTHER", ["市川洋"]), ("佐藤/SURNAME 検事局/NOUN 長/SUFFIX が/OTHER", ["佐藤"]),
    ],
)  # fmt: skip
def test_temples_shops_ages_and_pieces_of_hiragana_are_no_people(notation: str, expected: list[str]) -> None:
    assert people(notation, names="時代 江戸 太平 洋") == expected


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("下地/NOUN が/OTHER 昨日/NOUN 入院/NOUN し/OTHER", ["下地"]), ("下地/NOUN が/OTHER 昨日/NOUN 完成/NOUN し/OTHER", []), ("下地/NOUN を/OTHER 入院/NOUN さ/OTHER", []), ("入社/NOUN し/OTHER た/OTHER 下地/NOUN も/OTHER", ["下地"]),
        ("天井/NOUN は/OTHER 入院/NOUN し/OTHER", []), ("会社/NOUN 下地/NOUN が/OTHER 入院/NOUN し/OTHER", []), ("下地/PROPER が/OTHER 入院/NOUN し/OTHER", []), ("下/NOUN が/OTHER 入院/NOUN し/OTHER", []),
        ("西尾/NOUN と/OTHER 木村/SURNAME に/OTHER", ["西尾", "木村"]), ("西尾/PLACE と/OTHER 木村/SURNAME 太郎/GIVEN に/OTHER", ["西尾", "木村太郎"]), ("西尾/NOUN と/OTHER 木村/SURNAME 駅/NOUN に/OTHER", []),
        ("木村/SURNAME や/OTHER 西尾/PLACE の/OTHER", ["木村", "西尾"]), ("木村/SURNAME や/OTHER 西尾/PLACE 駅/NOUN の/OTHER", ["木村"]), ("木村/SURNAME で/OTHER 西尾/PLACE の/OTHER", ["木村"]), ("木村/SURNAME と/OTHER 大関/NOUN に/OTHER", ["木村"]),
        ("秋葉/PLACE たち/SUFFIX の/OTHER", ["秋葉"]), ("秋葉/PLACE 、/SIGN 来週/NOUN は/OTHER", ["秋葉"]), ("秋葉/PLACE 、/SIGN 西尾/PLACE は/OTHER", ["西尾"]), ("大/NOUN の/OTHER 秋葉/PLACE 、/SIGN", []), ("下地/NOUN 、/SIGN 来週/NOUN は/OTHER", []),
        ("上司/NOUN が/OTHER 承認/NOUN し/OTHER", []), ("養父/NOUN が/OTHER 入院/NOUN し/OTHER", []), ("上司/NOUN と/OTHER 木村/SURNAME に/OTHER", ["木村"]),
    ],
)  # fmt: skip
def test_surnames_that_are_other_words_are_told_by_deeds_and_by_whom_they_are_joined_to(
    notation: str, expected: list[str]
) -> None:
    assert (
        people(notation, names="下地 西尾 大関 下 秋葉 上司 養父", surnames="下地 西尾 大関 下 上司 養父", nouns="下地")
        == expected
    )
