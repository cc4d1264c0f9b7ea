"""Numbers in environment variables of processes."""

from collections.abc import Mapping

from sekisho.errors import Reason, RefusedError


def read_number(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """Read a whole number from `least` to `most`, which has at most nine digits.

    Raises:
        RefusedError: InvalidSpec, naming the variable and never its value.
    """
    text = environ.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most:
        raise RefusedError(Reason.INVALID_SPEC, f"{name} is not a whole number from {least} to {most}")
    return int(text)


def read_port(environ: Mapping[str, str], name: str, default: int) -> int:
    """Read a port; see `read_number`."""
    return read_number(environ, name, default, least=1, most=65535)
