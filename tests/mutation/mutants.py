"""Make mutants of a module: the same source with one small thing wrong."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
TYPES = frozenset({"tuple", "list", "set", "Callable"})
WORDS = 24


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutant.

    Attributes:
        place: Module and function, "broker/decide.py _nearest".
        was: The expression or statement as it stands.
        becomes: What the mutant has instead.
        code: The whole mutated module.
    """

    place: str
    line: int
    was: str
    becomes: str
    code: str

    @property
    def name(self) -> str:
        """Name the mutant without line numbers, so that the name stays while the code does."""
        return f"{self.place}: `{self.was}` → `{self.becomes}`"


def list_mutants(path: Path, *, root: Path) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    short = str(path.relative_to(root))
    nodes = list(_walk(tree, ()))
    for index, (node, owners) in enumerate(nodes):
        for change in range(_count(node, owners)):
            mutated = copy.deepcopy(tree)
            target = list(_walk(mutated, ()))[index][0]
            was = ast.unparse(node)
            becomes = _mutate(target, change)
            where = ".".join(owner.name for owner in owners if isinstance(owner, ast.FunctionDef | ast.ClassDef))
            yield Mutant(
                f"{short} {where or '(module)'}",
                getattr(node, "lineno", 0),
                _clip(was),
                _clip(becomes),
                ast.unparse(ast.fix_missing_locations(mutated)),
            )


def _walk(node: ast.AST, owners: tuple[ast.AST, ...]) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
    """Yield what may be mutated: neither annotations nor decorators nor docstrings nor the texts of messages."""
    yield node, owners
    inner = (*owners, node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else owners
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "bases"} or isinstance(node, ast.JoinedStr):
            continue
        children = value if isinstance(value, list) else [value]
        for child in children:
            if (
                isinstance(child, ast.AST)
                and not _is_text(child)
                and not isinstance(child, ast.ImportFrom | ast.Import)
            ):
                yield from _walk(child, inner)


def _is_text(node: ast.AST) -> bool:
    """Tell what decides nothing: texts for people, types, and bodies of protocols."""
    if isinstance(node, ast.Expr):
        return _is_text(node.value) or (isinstance(node.value, ast.Constant) and node.value.value is ...)
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in TYPES
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " " in node.value or len(node.value) > WORDS or not node.value
    return isinstance(node, ast.JoinedStr)


def _count(node: ast.AST, owners: tuple[ast.AST, ...]) -> int:  # noqa: PLR0911 - one for each kind
    """Count the mutations of one node."""
    if isinstance(node, ast.Compare):
        return sum(len(COMPARISONS[type(op)]) for op in node.ops)
    if isinstance(node, ast.BoolOp):
        return 1 + len(node.values)
    if isinstance(node, ast.BinOp):
        return int(type(node.op) in OPERATORS)
    if isinstance(node, ast.UnaryOp):
        return int(isinstance(node.op, ast.Not | ast.USub))
    if isinstance(node, ast.Constant):
        return int(isinstance(node.value, bool | int | str) and bool(owners))
    if isinstance(node, ast.Name):
        return int(node.id in NAMES)
    if isinstance(node, ast.If | ast.IfExp):
        return 2
    if isinstance(node, ast.Return):
        return int(node.value is not None and not _is_none(node.value))
    if isinstance(node, ast.Raise):
        return 1
    if isinstance(node, ast.Expr | ast.AugAssign):
        return 1
    if isinstance(node, ast.Tuple | ast.List | ast.Set) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return len(node.elts) if len(node.elts) > 1 else 0
    return int(isinstance(node, ast.comprehension) and bool(node.ifs))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _mutate(node: ast.AST, change: int) -> str:
    """Mutate a node in place; return its new source."""
    match node:
        case ast.Compare():
            options = [(at, new) for at, op in enumerate(node.ops) for new in COMPARISONS[type(op)]]
            at, new = options[change]
            node.ops[at] = new()
        case ast.BoolOp():
            if change == 0:
                node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            else:
                del node.values[change - 1]
                if len(node.values) == 1:
                    node.values.append(copy.deepcopy(node.values[0]))
        case ast.BinOp():
            node.op = OPERATORS[type(node.op)]()
        case ast.UnaryOp():
            _become(node, ast.Call(ast.Name("bool", ast.Load()), [node.operand], []))
        case ast.Constant():
            node.value = _other(node.value)
        case ast.Name():
            node.id = NAMES[node.id]
        case ast.If() | ast.IfExp():
            node.test = ast.Constant(change == 1)
            return f"if {change == 1}: …"
        case ast.Return():
            node.value = ast.Constant(None)
        case ast.Raise() | ast.Expr() | ast.AugAssign():
            _become(node, ast.Pass())
        case ast.Tuple() | ast.List() | ast.Set():
            del node.elts[change]
        case ast.comprehension():
            node.ifs = []
    return ast.unparse(node)


def _become(node: ast.AST, other: ast.AST) -> None:
    node.__class__ = other.__class__
    for field in list(vars(node)):
        if field not in {"lineno", "col_offset", "end_lineno", "end_col_offset"}:
            delattr(node, field)
    vars(node).update(vars(other))


def _other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value}x"


def _clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:117]}…"
