"""Judge the parts of a chat template, one node of its syntax tree at a time."""

import re
from dataclasses import dataclass
from typing import Final

from jinja2 import nodes
from jinja2.filters import FILTERS

from sekisho.scan.findings import Severity, show
from sekisho.scan.flows import Names, parts_of

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


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one node."""

    severity: Severity
    text: str


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


def _judge_attribute(name: str) -> Problem | None:
    if name.startswith("_") or "__" in name:
        return _danger(f"reaches for the attribute {show(name)}")
    if name in _UNSAFE_ATTRIBUTES:
        return _danger(f"reaches for the attribute {name}, which leads to Python's inside")
    return None


def _judge_key(key: nodes.Node, names: Names) -> Problem | None:
    if isinstance(key, nodes.Const):
        return _judge_attribute(key.value) if isinstance(key.value, str) else None
    return _danger("puts the name of a field together") if names.hides(key) else None


def _judge_call(node: nodes.Call, names: Names) -> Problem | None:
    target = node.node
    if isinstance(target, nodes.Name):
        if target.name not in _FUNCTIONS | names.macros:
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
        and isinstance(target.node, nodes.Name)
        and target.node.name in names.assigned
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
