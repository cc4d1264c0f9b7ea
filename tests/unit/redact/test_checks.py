"""Check digits: what is wrong in one digit is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.redact import checks


@pytest.mark.parametrize("digits", ["123456789012", "12345678901", "1234567890181", "123456789019"])
def test_a_my_number_with_a_wrong_check_digit_or_length_is_none(digits: str) -> None:
    assert not checks.is_my_number(digits)


@pytest.mark.parametrize("digits", ["123456789018", "000000000000"])
def test_a_my_number_is_known_by_its_check_digit(digits: str) -> None:
    assert checks.is_my_number(digits)


def test_a_corporate_number_is_known_by_its_first_digit() -> None:
    assert checks.is_corporate_number("7000012050002")  # the National Tax Agency's own
    assert not checks.is_corporate_number("8000012050002")
    assert not checks.is_corporate_number("700001205000")


def test_a_drivers_licence_is_known_by_commission_and_eleventh_digit() -> None:
    valid = [d for d in range(10) if checks.is_drivers_licence(f"3092123456{d}0")]
    assert len(valid) in {1, 2}
    assert not checks.is_drivers_licence(f"1592123456{valid[0]}0"), "there is no commission 15"
    assert not checks.is_drivers_licence("30921234561")


def test_a_licence_whose_remainder_is_zero_counts_with_both_digits_that_are_described() -> None:
    base = next(
        f"30{n:08d}"
        for n in range(99)
        if sum(int(a) * b for a, b in zip(f"30{n:08d}", (5, 4, 3, 2, 7, 6, 5, 4, 3, 2), strict=True)) % 11 == 0
    )
    assert [d for d in range(10) if checks.is_drivers_licence(f"{base}{d}0")] == [0, 1]


@pytest.mark.parametrize("digits", ["4111111111111112", "411111111111", "1111111111111117", "0000000000000000"])
def test_what_no_issuer_gives_is_no_card(digits: str) -> None:
    assert not checks.is_card(digits)


@pytest.mark.parametrize(
    "digits",
    [
        "4111111111111111",
        "5555555555554444",
        "378282246310005",
        "3530111333300000",
        "30569309025904",
        "6011111111111117",
        "213100000000001",
    ],
)
def test_cards_are_known_by_range_length_and_sum(digits: str) -> None:
    assert checks.is_card(digits)


@pytest.mark.parametrize(
    "text",
    ["GB29NWBK60161331926818", "GB29NWBK6016", "GB29" + "0" * 31, "JD944201237940002891", "DE8937040044053201300"],
)
def test_an_iban_with_a_wrong_sum_or_length_is_none(text: str) -> None:
    assert not checks.is_iban(text)


@pytest.mark.parametrize("text", ["GB29NWBK60161331926819", "DE89370400440532013000"])
def test_an_iban_is_known_by_its_sum(text: str) -> None:
    assert checks.is_iban(text)


@pytest.mark.parametrize("start", ["2131", "1800", "50", "6759"])
def test_old_and_debit_ranges_have_lengths_of_their_own(start: str) -> None:
    length = 15 if start in {"2131", "1800"} else 12
    assert sum(checks.is_card(f"{start:0<{length - 1}}{digit}") for digit in range(10)) == 1


@given(st.text("0123456789", min_size=1, max_size=20))
def test_luhn_sums_are_those_of_single_digits(digits: str) -> None:
    doubled = "".join(str(2 * int(digit)) if at % 2 else digit for at, digit in enumerate(reversed(digits)))
    assert checks.is_luhn(digits) == (sum(map(int, doubled)) % 10 == 0)


@given(st.text("0123456789", min_size=11, max_size=11))
def test_one_digit_makes_a_my_number_of_any_eleven(digits: str) -> None:
    weighed = sum(int(digit) * weight for digit, weight in zip(digits, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2), strict=True))
    right = 0 if weighed % 11 <= 1 else 11 - weighed % 11
    assert [digit for digit in range(10) if checks.is_my_number(f"{digits}{digit}")] == [right]


@pytest.mark.parametrize("digits", ["358094101234566", "353288112345677", "300000000000007"])
def test_numbers_of_devices_are_no_cards(digits: str) -> None:
    assert checks.is_luhn(digits)
    assert not checks.is_card(digits)
