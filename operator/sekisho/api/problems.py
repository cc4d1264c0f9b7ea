"""What is wrong with something that was read, in words that name the place and never a value."""

from pydantic import ValidationError

from sekisho.errors import Reason, RefusedError


def spell_problem(error: ValidationError, *, otherwise: str) -> str:
    """Spell the first problem; `otherwise` names what has no field of its own."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or otherwise}: {first['msg']}"


def refuse_variable(error: ValidationError, prefix: str) -> RefusedError:
    """Return the refusal of settings that were read from environment variables with a prefix."""
    first = error.errors(include_url=False, include_input=False)[0]
    variable = f"environment variable {prefix}{str(first['loc'][0]).upper()}: " if first["loc"] else ""
    return RefusedError(Reason.INVALID_SPEC, f"{variable}{first['msg']}")
