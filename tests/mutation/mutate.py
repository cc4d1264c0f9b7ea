"""Mutants of a module: each differs from it in one place, in a way that a test should notice."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: where, what, and the whole source with it."""

    line: int
    change: str
    source: str


def find_mutants(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module, in the order of its lines; texts for people are left alone."""
    tree = ast.parse(source)
    for index, node in enumerate(_walk(tree)):
        for number, change in enumerate(_changes(node)):
            changed = copy.deepcopy(tree)
            target = next(each for at, each in enumerate(_walk(changed)) if at == index)
            _apply(changed, target, number)
            yield Mutant(getattr(node, "lineno", 0), change, ast.unparse(ast.fix_missing_locations(changed)))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what decides: no docstrings, annotations, imports, nor texts of refusals."""
    yield node
    if isinstance(node, ast.Raise):
        return
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "type_comment", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_silent(child):
                yield from _walk(child)


def _is_silent(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.Subscript(value=ast.Name(id="Literal")):
            return True
    return False


def _changes(node: ast.AST) -> list[str]:
    """Say in which ways a node can be changed."""
    match node:
        case ast.Compare(ops=ops):
            return [f"{_say(op)} → {_say(SWAPPED[type(op)]())}" for op in ops]
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in SWAPPED:
            change = f"{_say(op)} → {_say(SWAPPED[type(op)]())}"
        case ast.UnaryOp(op=ast.Not()):
            change = "not … → …"
        case ast.Constant(value=bool() | int() | str() | bytes() as value) if value or not isinstance(
            value, str | bytes
        ):
            change = f"{value!r} → {_other(value)!r}"
        case ast.If() | ast.IfExp() | ast.While() | ast.comprehension(ifs=[_, *_]):
            change = "condition → its opposite"
        case ast.Expr(value=ast.Call()) | ast.Raise():
            change = f"{ast.unparse(node)[:60]} → nothing"
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            change = f"return {ast.unparse(value)[:50]} → return None"
        case ast.Break() | ast.Continue():
            change = "break ↔ continue"
        case _:
            return []
    return [change]


def _other(value: bool | int | str | bytes) -> bool | int | str | bytes:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "x"
    return value + b"x"


def _apply(tree: ast.AST, node: ast.AST, number: int) -> None:
    match node:
        case ast.Compare():
            node.ops[number] = SWAPPED[type(node.ops[number])]()  # type: ignore[call-overload]
        case ast.BoolOp() | ast.BinOp():
            node.op = SWAPPED[type(node.op)]()  # type: ignore[assignment]
        case ast.Constant(value=bool() | int() | str() | bytes() as value):
            node.value = _other(value)
        case ast.If() | ast.IfExp() | ast.While():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.comprehension():
            node.ifs[0] = ast.UnaryOp(ast.Not(), node.ifs[0])
        case ast.Return():
            node.value = ast.Constant(None)
        case ast.UnaryOp(operand=operand):
            _replace(tree, node, operand)
        case ast.Expr() | ast.Raise():
            _replace(tree, node, ast.Pass())
        case ast.Break():
            _replace(tree, node, ast.Continue())
        case _:
            _replace(tree, node, ast.Break())


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                setattr(parent, name, [new if each is old else each for each in value])


def _say(op: ast.AST) -> str:
    return type(op).__name__
