"""Follow text through the variables of a chat template: which of them may hold a name that was put together to hide it.

Scopes and order are left out of account, so more is followed than can happen, never less.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from jinja2 import nodes

_PIECE: Final = re.compile(r"^_|_$|__")
_COMPOSING: Final = frozenset({"join", "replace", "format"})
_NUMBERS: Final = frozenset({"length", "count", "int", "float", "round", "abs", "wordcount"})
_MAPPINGS: Final = frozenset({"namespace", "dict"})
_PLAIN: Final = frozenset({"range", "namespace", "dict", "raise_exception", "strftime_now"})
_ADDING: Final = frozenset({"append", "extend", "insert", "update"})
_ANY: Final = "."


@dataclass(slots=True)
class Names:
    """Names that a template gives by itself.

    Attributes:
        macros: Its macros.
        assigned: Its variables.
        hiding: Variables, and "variable.field", whose text was put together or has a piece of a name with underscores.
    """

    macros: set[str] = field(default_factory=set)
    assigned: set[str] = field(default_factory=set)
    hiding: set[str] = field(default_factory=set)

    def hides(self, node: nodes.Node) -> bool:
        """Tell whether the value of an expression may be a hidden name."""
        return _makes(node) or any(read in self.hiding for read in _reads(node))


def follow_names(tree: nodes.Node) -> Names:
    """Find all names that a template gives, and what flows into them."""
    parts = list(parts_of(tree))
    names = Names()
    anyone = {"varargs", "kwargs"}
    for node in parts:
        if isinstance(node, nodes.Macro | nodes.CallBlock):
            anyone |= {argument.name for argument in node.args}
            names.macros |= {node.name} if isinstance(node, nodes.Macro) else set()
        elif isinstance(node, nodes.For):
            anyone |= _targets(node.target) if node.recursive else set()
        elif isinstance(node, nodes.Assign):
            names.assigned |= _targets(node.target)
    flows = [flow for node in parts for flow in (*_flows(node), *_called(node, anyone))]
    edges: dict[str, set[str]] = {}
    names.hiding |= names.macros  # what a macro gives is text that it put together
    for targets, value in flows:
        if value is None or _makes(value):
            names.hiding |= targets
        else:
            for read in _reads(value):
                edges.setdefault(read, set()).update(targets)
    _spread(names.hiding, edges)
    return names


def _spread(hiding: set[str], edges: dict[str, set[str]]) -> None:
    pending = list(hiding)
    while pending:
        name = pending.pop()
        found = set(edges.get(name, ()))
        if _ANY in name[:-1]:
            found.add(name[: name.index(_ANY) + 1])  # a field taints its variable as a whole
        pending += found - hiding
        hiding |= found


Flow = tuple[set[str], nodes.Node | None]


def _flows(node: nodes.Node) -> Iterator[Flow]:
    """Yield (names, the expression that flows into them); None for one that hides whatever it is."""
    if isinstance(node, nodes.Assign):
        yield from _assigned(node)
    elif isinstance(node, nodes.AssignBlock):
        yield _targets(node.target), None
    elif isinstance(node, nodes.For):
        yield _targets(node.target), node.iter
    elif isinstance(node, nodes.With):
        yield from ((_targets(target), value) for target, value in zip(node.targets, node.values, strict=True))
    elif isinstance(node, nodes.Macro | nodes.CallBlock):
        yield from (({argument.name for argument in node.args}, default) for default in node.defaults)


def _called(node: nodes.Node, anyone: set[str]) -> Iterator[Flow]:
    """Yield what the arguments of a call flow into: whatever a macro takes, or a list that is added to."""
    if not isinstance(node, nodes.Call):
        return
    target, targets = node.node, set[str]()
    if isinstance(target, nodes.Getattr) and target.attr in _ADDING:
        targets = _targets(target.node)
    elif not (isinstance(target, nodes.Getattr) or (isinstance(target, nodes.Name) and target.name in _PLAIN)):
        targets = anyone  # a name may be another macro by now
    yield from ((targets, value) for value in _arguments(node) if targets)


def _assigned(node: nodes.Assign) -> Iterator[Flow]:
    targets, value = _targets(node.target), node.node
    if isinstance(value, nodes.Call) and isinstance(value.node, nodes.Name) and value.node.name in _MAPPINGS:
        for keyword in value.kwargs:
            yield {f"{target}{_ANY}{keyword.key}" for target in targets}, keyword.value
        yield from ((targets, argument) for argument in _arguments(value, keywords=False))
        return
    yield targets, value
    if isinstance(value, nodes.Name):  # two names of one thing: what is put into either is in both
        yield {value.name}, node.target


def _arguments(call: nodes.Call, *, keywords: bool = True) -> Iterator[nodes.Node]:
    yield from call.args
    yield from (part for part in (call.dyn_args, call.dyn_kwargs) if part is not None)
    if keywords:
        yield from (keyword.value for keyword in call.kwargs)


def _makes(node: nodes.Node) -> bool:
    """Tell whether text is put together here, or a piece of a name with underscores stands here."""
    for part in _values(node):
        if isinstance(part, nodes.Const) and isinstance(part.value, str) and _PIECE.search(part.value):
            return True
        works = (
            isinstance(part, nodes.Concat | nodes.Add | nodes.Mod | nodes.Mul)
            or (isinstance(part, nodes.Filter) and part.name in _COMPOSING)
            or (isinstance(part, nodes.Call) and isinstance(part.node, nodes.Getattr) and part.node.attr in _COMPOSING)
        )
        if works and any(isinstance(text, nodes.Const) and isinstance(text.value, str) for text in _values(part)):
            return True
    return False


def _reads(node: nodes.Node) -> Iterator[str]:
    """Yield the names whose text may be in the value of an expression."""
    for part in _values(node):
        if isinstance(part, nodes.Getattr | nodes.Getitem) and isinstance(part.node, nodes.Name):
            yield part.node.name
            yield f"{part.node.name}{_ANY}{_field_of(part)}"
        elif isinstance(part, nodes.Name):
            yield part.name
            yield f"{part.name}{_ANY}"


def _field_of(part: nodes.Getattr | nodes.Getitem) -> str:
    if isinstance(part, nodes.Getattr):
        return str(part.attr)
    return part.arg.value if isinstance(part.arg, nodes.Const) and isinstance(part.arg.value, str) else ""


def _values(node: nodes.Node) -> Iterator[nodes.Node]:
    """Walk the parts of an expression from which text can come into its value; numbers and comparisons end it."""
    pending = [node]
    while pending:
        part = pending.pop()
        yield part
        if isinstance(part, nodes.Compare | nodes.Not | nodes.Test | nodes.Slice) or _is_number(part):
            continue
        if isinstance(part, nodes.Getattr | nodes.Getitem):
            # Its key is judged where it stands; of a variable the field alone is read.
            pending += [] if isinstance(part.node, nodes.Name) else [part.node]
            continue
        pending += list(part.iter_child_nodes())


def _is_number(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Filter):
        return node.name in _NUMBERS
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "range"


def _targets(node: nodes.Node) -> set[str]:
    found = set()
    for part in parts_of(node):
        if isinstance(part, nodes.NSRef):
            found.add(f"{part.name}{_ANY}{part.attr}")
        elif isinstance(part, nodes.Name):
            found.add(part.name)
    return found


def parts_of(node: nodes.Node) -> Iterator[nodes.Node]:
    """Walk a node and all below it, however deep."""
    pending = [node]
    while pending:
        part = pending.pop()
        yield part
        pending += list(part.iter_child_nodes())
