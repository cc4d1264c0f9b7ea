"""XML: no entities, no surprises, and the one canonical spelling."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from sekisho.attest.xmltree import MAX_BYTES, canonicalize, parse_xml
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.manifests import render
from tests.unit.fuzz import attempt, changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is not well-formed"),
        (b"<a>", "it is not well-formed"),
        (b"<a/><b/>", "it is not well-formed"),
        (b"\xff<a/>", "it is not well-formed"),
        (b"<a>&b;</a>", "it is not well-formed"),
        (b'<a b="1" b="2"/>', "it is not well-formed"),
        (b"<!DOCTYPE a><a/>", "it has a document type"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "it has a document type"),
        (b"<?go now?><a/>", "it has a processing instruction"),
        (b'<p:a xmlns:q="s"/>', '"p:a" has a prefix that is not declared'),
        (b'<a xml:lang="en"/>', '"xml:lang" has a prefix that is not declared'),
        (b'<a xmlns:p="s" xmlns:q="s" p:b="1" q:b="2"/>', 'an attribute "q:b" stands twice'),
        (b"<a>" * 17 + b"</a>" * 17, "it has more than 4096 elements or 16 levels"),
        (b"<a>" + b"<b/>" * 4096 + b"</a>", "it has more than 4096 elements or 16 levels"),
        (bytes(MAX_BYTES + 1), "it has 524289 bytes, 524288 allowed"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_xml(data)
    assert caught.value.reason is Reason.COLLATERAL_INVALID
    assert caught.value.message == f"the manifest cannot be read: {message}"


@pytest.mark.parametrize(
    "text",
    [
        render("550.90.07", {1: [b"x" * 48]}),
        "<a/>",
        '<?xml version="1.0"?>\r\n<a b=" c&#9;d&#10;&lt;&gt;&quot;\'"  a="&#13;">e&gt;f&#13;<![CDATA[<g>&]]></a>\n',
        '<a xmlns="u:1"><b xmlns=""><c xmlns="u:2" xmlns:p="u:3"><p:d p:e="1" a="2"/></c></b></a>',
        '<z:a xmlns:z="u:1" xmlns:a="u:2" z:b="" a:b="" b=""><!-- not told --><c xmlns:z="u:1"/></z:a>',
        '<名 前="値">𝄞</名>',
    ],
)
def test_the_canonical_form_is_the_one_that_libxml2_spells(text: str) -> None:
    expected = io.BytesIO()
    etree.parse(io.BytesIO(text.encode())).write_c14n(expected, with_comments=False)
    assert canonicalize(parse_xml(text.encode())) == expected.getvalue()


@given(st.text(alphabet="ab<>&\"'\r\n\t é", max_size=12), st.text(alphabet="ab<>&\"'\r\n\t é", max_size=12))
@settings(max_examples=100, deadline=None)
def test_text_and_attributes_are_spelt_as_libxml2_does(text: str, value: str) -> None:
    element = etree.Element("a", b=value)
    element.text = text
    written = etree.tostring(element, encoding="utf-8")
    assert canonicalize(parse_xml(written)) == etree.tostring(element, method="c14n")


def test_as_much_as_is_allowed_is_read() -> None:
    assert len(parse_xml(b"<a>" + b"<b/>" * 4095 + b"</a>").children) == 4095
    assert parse_xml(b"<a>" * 16 + b"</a>" * 16).local == "a"
    assert parse_xml(b"<p:a xmlns:p='s'/>".ljust(MAX_BYTES)).local == "a"


def test_parts_are_found_by_namespace_and_local_name() -> None:
    root = parse_xml(b'<a xmlns="one" xmlns:p="two"><b p:c="1" c="2">t<p:b/>u</b><p:b/></a>')
    (child,) = root.elements("one", "b")
    assert (child.local, child.attribute("c"), child.attribute("c", "two"), child.attribute("d")) == (
        "b",
        "2",
        "1",
        None,
    )
    assert child.text() == "tu"
    assert root.elements("two", "c") == []


@given(changed(render("550.90.07", {}).encode()[:900] + b"</ns0:Payload></SoftwareIdentity>"))
@settings(max_examples=150, deadline=None)
def test_changed_documents_are_read_or_refused(data: bytes) -> None:
    attempt(lambda: canonicalize(parse_xml(data)))
