"""Addresses in Japan in Latin letters."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from tests.unit.redact.texts import found


@pytest.mark.parametrize(
    "text",
    [
        "1-2-3 Go, Steady, Now", "chapters 1-2-3, Tokyo drift", "score 3-1 Kawasaki lost", "1-2-3", "phases 1-2 Alpha, Beta Team",
        "room 1-2-3 lower case, tokyo", "1-2-3 Shinjuku, shinjuku",
    ],
)  # fmt: skip
def test_blocks_before_other_names_are_no_addresses(text: str) -> None:
    assert "jp-address" not in [kind for _, kind in found(text)]


@pytest.mark.parametrize(
    "address",
    [
        "1-2-3 Nishi-Shinjuku, Shinjuku-ku, Tokyo", "6-23-18 Sakae, Kawasaki-shi, Kanagawa", "1-1-1 Roppongi, Nishi-ku, Yokohama", "1-2-3 Umeda, Osaka",
        "1-10-29, Kita 1-jo Nishi, Chuo-ku, Sapporo, Hokkaido", "#545 Marunouchi 5-24-3, Chuo-ku, Sapporo, Hokkaido", "#982 3-23-5 Yoyogi, Kita-ku, Osaka",
        "Room 358, Minatomirai 6-23-28, Nishi-ku, Yokohama, Kanagawa", "Sunrise Bldg. 6F, 5-3-28, Hakataekimae, Naka-ku, Nagoya, Aichi",
        "729, Maison Aoba, 6-4-6 Sakae, Hakata-ku, Fukuoka-shi, Fukuoka",
    ],
)  # fmt: skip
def test_an_address_is_found_from_its_room_to_its_prefecture(address: str) -> None:
    assert found(address) == [(address, "jp-address")]


@pytest.mark.parametrize(
    ("text", "postal"),
    [
        ("3-3-19 Yoyogi, Shinjuku-ku, Tokyo 150-5579", "150-5579"), ("1-28-6, Honcho, Chuo-ku, Sapporo, Hokkaido, 450-2385 JAPAN", "450-2385"),
        ("〒446-8855 #191 Umeda 4-2-25, Kita-ku, Osaka", "446-8855"), ("〒383-1125 7-29-8, Sakae, Naka-ku, Nagoya", "383-1125"),
    ],
)  # fmt: skip
def test_a_postal_code_beside_it_is_one_of_its_own(text: str, postal: str) -> None:
    assert sorted(kind for _, kind in found(text)) == ["jp-address", "jp-postal-code"]
    assert (postal, "jp-postal-code") in found(text)


def test_a_telephone_number_before_it_is_found_as_well() -> None:
    kinds = [kind for _, kind in found("090-1234-5678 1-2-3 Umeda, Kita-ku, Osaka")]
    assert kinds == ["phone", "jp-address"]
