"""Japanese addresses: what places look like that are none, first."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from tests.unit.redact.texts import found


@pytest.mark.parametrize(
    "text",
    [
        "横浜市 3-1 で川崎市に勝利", "北海道41市町村 特開2016-067937", "東京都内の町工場100", "三-四月に京都市へ", "東京都の人口は1478万人", "さいたま市立第5中学校 2年8組", "大阪市で29件", "新宿駅から徒歩5-10分",
        "町100",
    ],
)  # fmt: skip
def test_scores_and_counts_are_no_addresses(text: str) -> None:
    assert "jp-address" not in [kind for _, kind in found(text)]


@pytest.mark.parametrize(
    "address",
    [
        "石川県かほく市南青山50番地26", "にかほ市四ツ谷5丁目34番24号", "山梨県南アルプス市北沢7-32-14", "千葉県千葉市美浜区東七－三十七－九", "山形市道玄坂四－三十四－二十四", "岩手県八幡平市平舘第24地割48番地",
        "愛媛県八幡浜市保内町宮内5番耕地169", "京都市中京区河原町通二条南入一之船入町762", "京都府京都市上京区今出川通大宮東入元伊佐町717", "横浜市3-1-2", "東京都港区 3-1",
        "宮崎県宮崎市虎ノ門7丁目37番13号　Brillia Tower 511", "名古屋市千種区堀6の22の17　エスポワール C1211", "福岡県福岡市博多区本町2―37―4 コート・ドール703", "兵庫県西宮市上野毛6－33　ハイツさくら 508",
        "三重県津市大字中山1763－18　オフィスタワーZ 11F", "沖縄県那覇市谷4-7 メゾン・ド・青葉1503", "千葉県鎌ケ谷市平針南7-22-20　コーポ田中A-607", "長野県飯田市鼎名古熊1450市営住宅3棟404号室", "岡山市北区泉1-25-5 県営団地9-502",
        "群馬県前橋市一番町6-28-2（メゾン・ド・青葉505）", "東京都港区芝1-2-3 ハイツ桜",
    ],
)  # fmt: skip
def test_places_blocks_and_buildings_of_every_spelling_are_found_whole(address: str) -> None:
    assert found(f"送付先：{address}")[0] == (address, "jp-address")


@pytest.mark.parametrize(
    "behind",
    [" TEL 03-1234-5678", " 〒100-0001", " スタッフ 12名", "付近", "で火災", " Tel 090 1234 5678", " ランチ 11:30"],
)
def test_what_stands_behind_an_address_is_no_building(behind: str) -> None:
    assert found(f"東京都港区芝1-2-3{behind}")[0] == ("東京都港区芝1-2-3", "jp-address")
