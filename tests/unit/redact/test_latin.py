"""Names in Latin letters."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from sekisho.redact.latin import LatinNames, find_latin

NAMES = LatinNames(
    given=frozenset({"jane", "martin", "paris", "mark", "don"}),
    family=frozenset({"doe", "müller", "reed", "jones"}),
    common=frozenset({"paris", "the", "english", "please", "mark", "martin"}),
)


def latin(text: str) -> list[str]:
    return [text[start:end] for start, end in find_latin(text, NAMES)]


@pytest.mark.parametrize(
    "text",
    [
        "Paris is large", "Please wait", "Jones University", "Reed Street", "6076 Müller u. 97", "Jane 45, Paris", "JANE DOE INC", "DOE",
        "San Müller", "North Jones", "jane@doe.com", "@Jane", "Don't go", "Jo", "Alpha Beta", "Jane Doe Jones Reed Müller", "X", "Mr. is short", "Sent by Xa Bank",
        "Dr", "I want to know", "She said", "Tomomi Engine", "Nara Eki", "The Jones family", "The Doe",
        "The Jane version", "The Jane Quux version", "Usamov and Bowers", "Usamov and Paris", "Usamov, Bowers", "Secretly Doe", "Čurin", "San Čurin", "São Paulo Bank", "Paris Čurin",
        "Jones Orchestra", "Jane Trail", "the dull novel", '"Yes," he says', "my name is not given", "call me back.", "my name is the doe.", "name is jane doe in lower case", "all me jane.",
    ],
)  # fmt: skip
def test_what_is_no_person_is_left(text: str) -> None:
    assert latin(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jane wrote", ["Jane"]),
        ("jane met Jane Doe.", ["Jane Doe"]),
        ("My name is Rubija", ["Rubija"]),
        ("my name is Martin", ["Martin"]),
        ("Please Jane", ["Jane"]),
        ("Mr. Xavi Quux Bank called", ["Xavi Quux"]),
        ("Dr. Bank", ["Bank"]),
        ("Mohmad R. Vizirov will", ["Mohmad R. Vizirov"]),
        ('Vsevolod: "Who', ["Vsevolod"]),
        ("Shovda lives here", ["Shovda"]),
        ("Meza's daughter", ["Meza"]),
        ("J. Doe and Anne van der Reed", ["J. Doe", "Anne van der Reed"]),
        ("女優Jane Müllerは", ["Jane Müller"]),
        ("join ms. Quinzia", ["Quinzia"]),
        ("Jean-Luc Doe", ["Jean-Luc Doe"]),
        ("ask Tomomi Nishiyama", ["Tomomi Nishiyama"]),
        ("担当 Haruto Fujimotoへ", ["Haruto Fujimoto"]),
        ("O'Neil Doe", ["O'Neil Doe"]),
        ("The Jane Q. Doe version", ["Jane Q. Doe"]),
        ("Usamov and Jones, who", ["Usamov", "Jones"]),
        ("Jones and Usamov.", ["Jones", "Usamov"]),
        ("Usamov, Jones", ["Jones"]),
        ("by Darijo Čurin", ["Darijo Čurin"]),
        ("the Usamov novel", ["Usamov"]),
        ('so," says Usamov.', ["Usamov"]),
        ("My name is jane doe.", ["jane doe"]),
        ("her maiden name is doe", ["doe"]),
        ("call me don, please", ["don"]),
        ("the name is jane q. doe!", ["jane q. doe"]),
    ],
)
def test_lists_titles_and_words_around_tell_people(text: str, expected: list[str]) -> None:
    assert latin(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("JANE DOE", ["JANE DOE"]), ("DOE JANE", ["DOE JANE"]), ("JANE MARK", []), ("JANE QUUX", []), ("名義 XAVI QUUX", ["XAVI QUUX"]),
        ("card holder: XAVI QUUX", ["XAVI QUUX"]), ("名義 THE MARK", []), ("名義 XAVI QUUX JONES", []), ("AKITA KITA", []),
    ],
)  # fmt: skip
def test_names_in_capitals_are_told_by_lists_or_by_what_announces_a_cards_holder(
    text: str, expected: list[str]
) -> None:
    assert latin(text) == expected
