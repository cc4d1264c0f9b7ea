"""Expressions in CEL over what is known of a caller: checked with their types when written, bounded when computed.

The language, its checker and its bounds of work (iterations and nesting; `matches` in linear time) are those of the
reference implementation. What cannot be computed is not true.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from sekisho.api.v1alpha1.accesspolicy import MAX_EXPRESSION
from sekisho.errors import Reason, RefusedError

_TEXT: Final = cel.Type.STRING
_VARIABLES: Final[Mapping[str, Any]] = {
    "claims": cel.Type.Map(_TEXT, cel.Type.DYN),
    "user": _TEXT,
    "groups": cel.Type.List(_TEXT),
    "issuer": _TEXT,
    "model": _TEXT,
}
_MAX_TOLD: Final = 300


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression that was checked."""

    text: str
    program: Any

    def is_true(self, facts: Mapping[str, Any]) -> bool:
        """Tell whether it is true; everything else, an error too, is not.

        Args:
            facts: `claims`, `user`, `groups`, `issuer`, `model`.
        """
        try:
            found = self.program.eval(data=facts)
        except Exception:  # noqa: BLE001 - whatever the library makes of a caller's claims, it is not a yes
            return False
        return found.type() == cel.Type.BOOL and found.value() is True


@lru_cache(maxsize=1)
def _environment() -> Any:
    return cel.NewEnv(variables=dict(_VARIABLES))


def parse_expression(text: str) -> Expression:
    """Check an expression: its grammar, the names it uses, and that it ends in true or false.

    Raises:
        RefusedError: InvalidSpec, with the place in the text.
    """
    if not 0 < len(text) <= MAX_EXPRESSION:
        raise _refuse(text, f"it has {len(text)} characters, 1 to {MAX_EXPRESSION} are possible")
    try:
        program = _environment().compile(text)
    except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and others for what it cannot read
        raise _refuse(text, _spell(str(error))) from None
    kind = program.return_type()
    if kind != cel.Type.BOOL:
        raise _refuse(text, f"it comes to {kind.name()}, not to true or false")
    return Expression(text, program)


def _spell(said: str) -> str:
    """Return the first line of what the checker said, without its own codes."""
    line = said.partition("\n")[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ")
    return line.replace("<input>:", "at ").replace(" (in container '')", "")[:_MAX_TOLD]


def _refuse(text: str, why: str) -> RefusedError:
    told = "".join(char if char.isprintable() else "?" for char in text[:80])
    return RefusedError(Reason.INVALID_SPEC, f"the expression {told!r} cannot be used: {why}")
