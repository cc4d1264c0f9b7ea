import pytest

from sekisho.scan.cards import Card, NoCardError, load_yaml, read_card
from sekisho.scan.findings import Check, Severity
from sekisho.scan.licences import agree, read_expression, recognise_text
from tests.unit.scan.models import as_json, scan

MIT = (
    "MIT License\n\nCopyright (c) 2026\n\nPermission is hereby granted, free of charge, to any person\n"
    'THE SOFTWARE IS PROVIDED "AS IS"'
)


@pytest.mark.parametrize(
    "text",
    [
        "", "foo", "Apache-2.0 AND", "AND MIT", "(MIT", "MIT)", "MIT MIT", "MIT WITH", "MIT WITH MIT", "MIT WITH foo",
        "Classpath-exception-2.0", "MIT; rm -rf", "M\x00IT", "MIT OR " * 60 + "MIT", "(" * 9 + "MIT" + ")" * 9, "()",
        "LicenseRef-", "あ",
    ],
)  # fmt: skip
def test_what_is_no_expression_is_none(text: str) -> None:
    assert read_expression(text) is None


@pytest.mark.parametrize(
    ("text", "spelt", "names"),
    [
        ("apache-2.0", "Apache-2.0", {"Apache-2.0"}),
        ("(mit or Apache-2.0) and cc-by-4.0", "(MIT OR Apache-2.0) AND CC-BY-4.0", {"MIT", "Apache-2.0", "CC-BY-4.0"}),
        (
            "GPL-2.0-only with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", {"GPL-2.0-only"}
        ),
        ("LicenseRef-llama3.1", "LicenseRef-llama3.1", {"LicenseRef-llama3.1"}),
        ("DocumentRef-a:LicenseRef-b", "DocumentRef-a:LicenseRef-b", {"DocumentRef-a:LicenseRef-b"}),
    ],
)  # fmt: skip
def test_an_expression_is_read_in_its_one_spelling(text: str, spelt: str, names: set[str]) -> None:
    assert read_expression(text) == (spelt, frozenset(names))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "GPL-3.0-only"),
        ("Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
        ("# SPDX-License-Identifier: mit OR Apache-2.0\n" + MIT, "MIT OR Apache-2.0"),
        ("SPDX-License-Identifier: whatever\n" + MIT, "MIT"),
        ("All rights reserved", ""),
    ],
)
def test_a_licence_is_known_by_its_text(text: str, name: str) -> None:
    assert recognise_text(text) == name


def test_what_was_found_must_be_among_what_was_declared() -> None:
    assert agree(frozenset({"MIT", "Apache-2.0"}), frozenset({"MIT"}))
    assert agree(frozenset({"GPL-3.0-or-later"}), frozenset({"GPL-3.0-only"}))
    assert not agree(frozenset({"MIT"}), frozenset({"MIT", "CC-BY-NC-4.0"}))


def test_a_declared_licence_that_is_no_expression_is_found() -> None:
    found = scan({"a.txt": b""}, licence="Apache 2").findings
    assert [(finding.path, finding.check, finding.severity) for finding in found] == [
        ("", Check.LICENCE, Severity.SUSPECT)
    ]
    assert '"Apache 2" is no SPDX licence expression' in found[0].detail


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("LICENSE", MIT.encode()),
        ("LICENCE.txt", MIT.encode()),
        ("copying", MIT.encode()),
        ("README.md", b"---\nlicense: mit\n---\n"),
        ("config.json", as_json({"license": "mit"})),
    ],
)
def test_a_licence_that_disagrees_with_the_declared_one_is_found(path: str, data: bytes) -> None:
    report = scan({path: data}, licence="Apache-2.0")
    assert [(finding.path, finding.check) for finding in report.findings] == [(path, Check.LICENCE)]
    assert "declared is Apache-2.0" in report.findings[0].detail
    assert report.licence == "Apache-2.0"


def test_without_a_declaration_the_files_are_held_against_each_other() -> None:
    report = scan({"LICENSE": b"All rights reserved", "a/LICENSE": MIT.encode(), "README.md": b"---\nlicense: x\n---"})
    assert (report.findings, report.licence) == ((), "MIT")
    report = scan({"LICENSE": MIT.encode(), "README.md": b"---\nlicense: apache-2.0\n---"})
    assert report.findings[0].detail == "it says apache-2.0, LICENSE says MIT"
    assert scan({"a.txt": b""}).licence == ""


def test_a_card_tells_licence_and_provenance() -> None:
    text = "\ufeff---\nlicense:\n- mit\n- apache-2.0\nbase_model:\n- a\n- {b: c}\ndatasets: d\nlanguage: ja\n---\nText"
    assert read_card(text) == Card("mit AND apache-2.0", ("a",), ("d",))
    assert read_card("---\nlicense: other\nlicense_name: llama3.1\n---").licence == "llama3.1"
    assert read_card("---\nlicense: other\n---").licence == "other"
    assert read_card("---\ntags: []\n---") == Card()
    assert read_card("# Model") == Card()


@pytest.mark.parametrize("text", ["---\na", "---\n---\n", "---\na: 1"])
def test_front_matter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(NoCardError, match="is not a YAML mapping"):
        read_card(text)


def test_yaml_makes_texts_alone() -> None:
    assert load_yaml("a: !!python/object:os.system 1\nb: 2026-01-01\nc: [true]") == {
        "a": "1", "b": "2026-01-01", "c": ["true"]
    }  # fmt: skip
    with pytest.raises(NoCardError, match="is no YAML"):
        load_yaml("a: [" * 100_000)
