"""Look into chat templates: they are parsed by Jinja's own parser and never rendered.

A chat template needs loops, conditions, fields of messages and a handful of filters. What leads from there to Python's
inside (attributes with underscores, `attr`, names put together), to other files (import, include) or to endless work
(large ranges, powers, repeated text) is held against it.
"""

from collections.abc import Iterator
from typing import Final

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from sekisho.scan.entry import Entry
from sekisho.scan.expressions import judge_node
from sekisho.scan.findings import Check, Severity, show
from sekisho.scan.flows import follow_names

MAX_TEMPLATE_BYTES: Final = 256 * 1024
MAX_NODES: Final = 32 * 1024
_MOST_LOOPS: Final = 8


class _Generation(Extension):
    """`{% generation %}`, which marks what the assistant said; model hubs add it to Jinja."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Take what stands inside as it is."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_template(entry: Entry, text: str, where: str) -> None:
    """Report what in a chat template could do more than spell a conversation."""
    for severity, line, what in _judge(text):
        place = (show(where, 60), f"line {line}" if line else "")
        entry.report(Check.TEMPLATE, severity, what, ", ".join(part for part in place if part))


def _judge(text: str) -> Iterator[tuple[Severity, int, str]]:
    if len(text.encode(errors="replace")) > MAX_TEMPLATE_BYTES:
        yield Severity.SUSPECT, 0, f"a template of more than {MAX_TEMPLATE_BYTES} bytes"
        return
    try:
        tree = _environment().parse(text)
    except TemplateError as error:
        yield Severity.SUSPECT, getattr(error, "lineno", 0), f"a template that cannot be parsed: {error.message}"
        return
    except (RecursionError, ValueError, OverflowError) as error:
        yield Severity.SUSPECT, 0, f"a template that cannot be parsed: {type(error).__name__}"
        return
    yield from _judge_tree(tree)


def _environment() -> Environment:
    # Nothing is rendered, so nothing is escaped.
    return Environment(extensions=["jinja2.ext.loopcontrols", _Generation], autoescape=False)  # noqa: S701


def _judge_tree(tree: nodes.Template) -> Iterator[tuple[Severity, int, str]]:
    pending: list[tuple[nodes.Node, int]] = [(tree, 0)]
    seen: list[nodes.Node] = []
    while pending:
        node, loops = pending.pop()
        seen.append(node)
        loops += isinstance(node, nodes.For)
        if len(seen) > MAX_NODES or loops > _MOST_LOOPS:
            yield Severity.SUSPECT, node.lineno, f"more than {MAX_NODES} parts, or {_MOST_LOOPS} loops in each other"
            return
        pending += [(child, loops) for child in node.iter_child_nodes()]
    names = follow_names(tree)
    for node in seen:
        if (problem := judge_node(node, names)) is not None:
            yield problem.severity, node.lineno, problem.text
