"""Judge the parts of a chat template, one node of its syntax tree at a time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from jinja2 import nodes
from jinja2.filters import FILTERS

from sekisho.scan.findings import Severity, show

MAX_COUNT: Final = 100_000
_UNSAFE_ATTRIBUTES: Final = frozenset(
    {
        "mro", "format_map", "gi_frame", "gi_code", "gi_yieldfrom", "cr_frame", "cr_code", "cr_await", "ag_frame",
        "ag_code", "tb_frame", "tb_next", "f_back", "f_globals", "f_builtins", "f_locals", "f_code", "f_trace",
        "func_globals", "func_code", "func_closure", "im_func", "im_self", "im_class", "eval_ctx", "environment",
        "exported_vars",
    }
)  # fmt: skip
_UNSAFE_TEXT: Final = re.compile(
    r"__(class|bases?|mro|subclasses|globals|builtins|init|import|dict|code|closure|getattr|getattribute|self|module|"
    r"call|reduce|reduce_ex|new|func|loader|spec|wrapped|enter|exit)__",
    re.IGNORECASE,
)
_PIECE: Final = re.compile(r"^_|_$|__")
_FORMAT_REACHES: Final = re.compile(r"\{[^}:!]*[._\[{]")
_FUNCTIONS: Final = frozenset(
    {
        "range", "namespace", "dict", "joiner", "cycler", "raise_exception", "strftime_now", "caller", "loop",
    }
)  # fmt: skip
_METHODS: Final = frozenset(
    {
        "get", "items", "keys", "values", "pop", "update", "copy", "append", "extend", "insert", "count", "index",
        "split", "rsplit", "splitlines", "partition", "rpartition", "strip", "lstrip", "rstrip", "startswith",
        "endswith", "removeprefix", "removesuffix", "replace", "upper", "lower", "title", "capitalize", "join", "find",
        "rfind", "isdigit", "isspace", "isalpha", "isalnum", "isnumeric", "isupper", "islower", "format", "strftime",
        "isoformat", "changed", "next",
    }
)  # fmt: skip
_FILTERS: Final = (frozenset(FILTERS) | {"from_json", "fromjson"}) - {"attr", "xmlattr"}
_ATTRIBUTE_PLACE: Final = {
    "selectattr": 0, "rejectattr": 0, "sum": 0, "groupby": 0, "join": 1, "unique": 1, "min": 1, "max": 1, "sort": 2,
}  # fmt: skip
"""Which argument of a filter names an attribute; `attribute=` does so in all of them, and in map."""
_PADDING: Final = frozenset({"center", "indent", "batch", "slice", "wordwrap"})
_COMPOSING: Final = frozenset(
    {
        "join", "replace", "format", "reverse", "lower", "trim", "strip", "removeprefix", "removesuffix",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one node."""

    severity: Severity
    text: str


@dataclass(slots=True)
class Names:
    """Names that a template gives by itself.

    Attributes:
        macros: Its macros, with the names of their arguments.
        assigned: Its variables.
        hiding: Variables that hold text which it put together, or a piece of a name with underscores.
    """

    macros: dict[str, set[str]] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    hiding: set[str] = field(default_factory=set)

    def holds(self, node: nodes.Node) -> bool:
        """Tell whether a node is a variable that hides something, or a field of one."""
        name = _spell(node)
        return bool(name) and (name in self.hiding or name.partition(".")[0] in self.hiding)


def list_names(tree: nodes.Node) -> Names:
    """List the names that a template gives."""
    names = Names()
    parts = list(parts_of(tree))
    for node in parts:
        if isinstance(node, nodes.Macro):
            names.macros[node.name] = {argument.name for argument in node.args}
    for node in parts:
        if isinstance(node, nodes.AssignBlock):
            names.hiding |= _targets(node.target)
        elif isinstance(node, nodes.Assign):
            names.assigned |= _targets(node.target)
            names.hiding |= _targets(node.target) if _hides(node.node) else set()
        elif isinstance(node, nodes.For):
            names.hiding |= _targets(node.target) if _hides(node.iter) else set()
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and _hides(node):
            names.hiding |= names.macros.get(node.node.name, set())
    return names


def judge_node(node: nodes.Node, names: Names) -> Problem | None:
    """Judge one node by what it does itself; its children are judged by themselves."""
    if isinstance(node, nodes.Import | nodes.FromImport | nodes.Include | nodes.Extends):
        return _danger("takes in another file")
    if isinstance(node, nodes.Getattr):
        return _judge_attribute(node.attr)
    if isinstance(node, nodes.Getitem):
        return _judge_key(node.arg, names)
    if isinstance(node, nodes.Name) and (node.name == "self" or node.name.startswith("__")):
        return _danger(f"uses {show(node.name)}, from which Python's inside can be reached")
    if isinstance(node, nodes.Call):
        return _judge_call(node, names)
    if isinstance(node, nodes.Filter):
        return _judge_filter(node, names)
    return _judge_work(node)


def parts_of(node: nodes.Node) -> Iterator[nodes.Node]:
    """Walk a node and all below it, however deep."""
    pending = [node]
    while pending:
        part = pending.pop()
        yield part
        pending += list(part.iter_child_nodes())


def _spell(node: nodes.Node) -> str:
    if isinstance(node, nodes.NSRef):
        return f"{node.name}.{node.attr}"
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
        return f"{node.node.name}.{node.attr}"
    return node.name if isinstance(node, nodes.Name) else ""


def _targets(node: nodes.Node) -> set[str]:
    return {_spell(part) for part in parts_of(node)} - {""}


def _texts(node: nodes.Node) -> list[str]:
    return [part.value for part in parts_of(node) if isinstance(part, nodes.Const) and isinstance(part.value, str)]


def _works(node: nodes.Node) -> bool:
    """Tell whether something is done here by which text can be put together."""
    return any(
        isinstance(part, nodes.Concat | nodes.Add | nodes.Mod | nodes.Mul)
        or (isinstance(part, nodes.Filter) and part.name in _COMPOSING)
        or (isinstance(part, nodes.Getattr) and part.attr in _COMPOSING)
        for part in parts_of(node)
    )


def _hides(node: nodes.Node) -> bool:
    """Tell whether text is put together here, or a piece of a name with underscores stands here."""
    texts = _texts(node)
    return any(_PIECE.search(text) for text in texts) or (bool(texts) and _works(node))


def _judge_attribute(name: str) -> Problem | None:
    if name.startswith("_") or "__" in name:
        return _danger(f"reaches for the attribute {show(name)}")
    if name in _UNSAFE_ATTRIBUTES:
        return _danger(f"reaches for the attribute {name}, which leads to Python's inside")
    return None


def _judge_key(key: nodes.Node, names: Names) -> Problem | None:
    if isinstance(key, nodes.Const):
        return _judge_attribute(key.value) if isinstance(key.value, str) else None
    # A variable may be the key as it is; more than that is only worked on to hide what it is.
    if _hides(key) or names.holds(key) or (_works(key) and any(names.holds(part) for part in parts_of(key))):
        return _danger("puts the name of a field together")
    return None


def _judge_call(node: nodes.Call, names: Names) -> Problem | None:
    target = node.node
    if isinstance(target, nodes.Name):
        if target.name not in _FUNCTIONS | set(names.macros):
            return _suspect(f"calls {show(target.name)}, which is none of the functions of chat templates")
        return _judge_range(node) if target.name == "range" else None
    if _is_listed(target, names):
        return None
    if not isinstance(target, nodes.Getattr):
        return _danger("calls something that it has put together or looked up")
    if target.attr not in _METHODS:
        return _suspect(f"calls the method {show(target.attr)}, which no chat template needs")
    if target.attr == "format" and not _is_plain_format(target.node):
        return _danger("calls format on text that can reach for attributes")
    return None


def _is_listed(target: nodes.Node, names: Names) -> bool:
    """Tell whether something is an item of a list that the template made itself, as lists of macros are called."""
    return (
        isinstance(target, nodes.Getitem)
        and _spell(target.node) in names.assigned
        and isinstance(target.arg, nodes.Name)
        and not _judge_key(target.arg, names)
    )


def _is_plain_format(text: nodes.Node) -> bool:
    return isinstance(text, nodes.Const) and isinstance(text.value, str) and not _FORMAT_REACHES.search(text.value)


def _judge_range(call: nodes.Call) -> Problem | None:
    for argument in call.args:
        if any(isinstance(part, nodes.Mul | nodes.Pow) or _is_large(part) for part in parts_of(argument)):
            return _suspect(f"counts in a range that can be larger than {MAX_COUNT}")
    return None


def _judge_filter(node: nodes.Filter, names: Names) -> Problem | None:
    if node.name == "attr":
        return _danger("reaches for attributes by the filter attr")
    if node.name not in _FILTERS:
        return _suspect(f"uses the filter {show(node.name)}, which chat templates do not have")
    if node.name in _PADDING and any(_is_large(part) for argument in node.args for part in parts_of(argument)):
        return _suspect(f"pads by more than {MAX_COUNT}")
    if node.name == "map" or node.name in _ATTRIBUTE_PLACE:
        return _judge_reaching(node, names)
    return None


def _judge_reaching(node: nodes.Filter, names: Names) -> Problem | None:
    """Judge a filter that takes the name of an attribute, or of another filter, as text."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return _danger(f"hands arguments to the filter {node.name} that cannot be seen")
    arguments = [keyword.value for keyword in node.kwargs if keyword.key == "attribute"]
    place = _ATTRIBUTE_PLACE.get(node.name)
    arguments += node.args if place is None else node.args[place : place + 1]
    for argument in arguments:
        if not isinstance(argument, nodes.Const):
            return _danger(f"puts together what the filter {node.name} reaches for")
        steps = argument.value.split(".") if isinstance(argument.value, str) else []
        if any(step == "attr" or _judge_attribute(step) for step in steps):
            return _danger(f"reaches for {show(argument.value)} by the filter {node.name}")
    return None


def _judge_work(node: nodes.Node) -> Problem | None:
    if isinstance(node, nodes.Const) and isinstance(node.value, str) and _UNSAFE_TEXT.search(node.value):
        return _danger(f"names {show(node.value, 60)}, by which Python's inside is reached")
    if isinstance(node, nodes.Pow):
        return _suspect("raises to a power, which can take all memory")
    if isinstance(node, nodes.Mul) and (_is_large(node.left) or _is_large(node.right)):
        return _suspect(f"multiplies by more than {MAX_COUNT}")
    return None


def _is_large(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and isinstance(node.value, int | float) and abs(node.value) > MAX_COUNT


def _suspect(text: str) -> Problem:
    return Problem(Severity.SUSPECT, text)


def _danger(text: str) -> Problem:
    return Problem(Severity.DANGER, text)
