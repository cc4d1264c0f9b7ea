"""Read XML into a small tree and spell it canonically (Canonical XML 1.1, without comments); for signed manifests.

Bounded in bytes, depth and elements. A document type is refused, and with it every entity; so are processing
instructions and attributes of the "xml" namespace, which canonical form treats in ways of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from sekisho.errors import Reason, RefusedError

MAX_BYTES: Final = 512 * 1024
MAX_DEPTH: Final = 16
MAX_ELEMENTS: Final = 4096
_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_ATTRIBUTE: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
)


@dataclass(slots=True, eq=False)
class Element:
    """An element and what is in it.

    Attributes:
        name: As it is spelt, with its prefix.
        space: The namespace of its name; empty for none.
        scope: Every namespace that can be used here, by prefix.
        attributes: By namespace and local name: how each is spelt, and its value.
        children: Elements and text, in order.
    """

    name: str
    space: str
    scope: Mapping[str, str]
    attributes: Mapping[tuple[str, str], tuple[str, str]]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def local(self) -> str:
        """Return the name without its prefix."""
        return self.name.rpartition(":")[2]

    def elements(self, space: str, local: str) -> list["Element"]:
        """Return the children of a name."""
        return [
            each for each in self.children if isinstance(each, Element) and (each.space, each.local) == (space, local)
        ]

    def attribute(self, local: str, space: str = "") -> str | None:
        """Return the value of an attribute; None where there is none."""
        return self.attributes.get((space, local), ("", None))[1]

    def text(self) -> str:
        """Return the text directly in it."""
        return "".join(each for each in self.children if isinstance(each, str))


@dataclass(slots=True)
class _Builder:
    """What is built while a document is read."""

    stack: list[Element] = field(default_factory=list)
    root: Element | None = None
    count: int = 0

    def start(self, name: str, attributes: list[str]) -> None:
        self.count += 1
        if self.count > MAX_ELEMENTS or len(self.stack) == MAX_DEPTH:
            raise _invalid(f"it has more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")
        element = _build(name, attributes, self.stack[-1].scope if self.stack else {})
        if self.stack:
            self.stack[-1].children.append(element)
        else:
            self.root = element
        self.stack.append(element)

    def end(self, _: str) -> None:
        self.stack.pop()

    def text(self, data: str) -> None:
        self.stack[-1].children.append(data)


def parse_xml(data: bytes) -> Element:
    """Parse a document in UTF-8, at most 512 KiB, 16 levels and 4096 elements.

    Raises:
        RefusedError: CollateralInvalid.
    """
    if len(data) > MAX_BYTES:
        raise _invalid(f"it has {len(data)} bytes, {MAX_BYTES} allowed")
    builder, parser = _Builder(), expat.ParserCreate("utf-8")
    parser.ordered_attributes, parser.buffer_text = True, True
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.ProcessingInstructionHandler = _refuse_instruction
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise _invalid("it is not well-formed") from error
    if builder.root is None:  # pragma: no cover - expat refuses a document without an element
        raise _invalid("it has no element")
    return builder.root


def canonicalize(element: Element, *, without: Element | None = None) -> bytes:
    """Spell an element in canonical form, as the top of what is signed; one element below may be left out."""
    return "".join(_spell(element, {}, without)).encode()


def _build(name: str, attributes: list[str], outer: Mapping[str, str]) -> Element:
    pairs = list(zip(attributes[::2], attributes[1::2], strict=True))
    scope = dict(outer)
    for key, value in pairs:
        prefix, _, local = key.partition(":")
        if prefix == "xmlns":
            scope[local] = value
    named: dict[tuple[str, str], tuple[str, str]] = {}
    for key, value in pairs:
        if key.partition(":")[0] == "xmlns":
            continue
        space = _resolve(key, scope) if ":" in key else ""
        local = key.rpartition(":")[2]
        if (space, local) in named:
            raise _invalid(f'an attribute "{key[:64]}" stands twice')
        named[space, local] = (key, value)
    return Element(name, _resolve(name, scope), scope, named)


def _resolve(name: str, scope: Mapping[str, str]) -> str:
    prefix = name.rpartition(":")[0]
    if prefix and not scope.get(prefix):
        raise _invalid(f'"{name[:64]}" has a prefix that is not declared')
    return scope.get(prefix, "")


def _spell(element: Element, told: Mapping[str, str], without: Element | None) -> Iterator[str]:
    spaces = {prefix: space for prefix, space in element.scope.items() if told.get(prefix, "") != space}
    yield f"<{element.name}"
    for prefix, space in sorted(spaces.items()):
        yield f' {"xmlns:" + prefix if prefix else "xmlns"}="{space.translate(_ATTRIBUTE)}"'
    for _, (name, value) in sorted(element.attributes.items()):
        yield f' {name}="{value.translate(_ATTRIBUTE)}"'
    yield ">"
    for child in element.children:
        if isinstance(child, str):
            yield child.translate(_TEXT)
        elif child is not without:
            yield from _spell(child, element.scope, without)
    yield f"</{element.name}>"


def _refuse_doctype(*_: object) -> None:
    raise _invalid("it has a document type")


def _refuse_instruction(*_: object) -> None:
    raise _invalid("it has a processing instruction")


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, f"the manifest cannot be read: {what}")
