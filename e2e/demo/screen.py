"""Prints the demo so that a person can follow it."""

import os
import sys
import textwrap

_COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if _COLOURS else text


def title(text: str) -> None:
    """Begin a part."""
    print(f"\n{_paint('1;34', '━━ ' + text)}", flush=True)


def say(text: str) -> None:
    """Print a paragraph."""
    print(textwrap.fill(text, 118, initial_indent="   ", subsequent_indent="   "), flush=True)


def command(text: str) -> None:
    """Show what a person would type."""
    print(f"   {_paint('1', '$ ' + text)}", flush=True)


def output(text: str) -> None:
    """Show what a command printed."""
    print(textwrap.indent(text.rstrip(), "     "), flush=True)


def good(text: str) -> None:
    """Show something that works and should."""
    print(f"   {_paint('32', '✓')} {text}", flush=True)


def stopped(text: str) -> None:
    """Show something that was refused and should be."""
    print(f"   {_paint('31', '✕')} {text}", flush=True)


def bad(text: str) -> None:
    """Show something that should not be so."""
    print(f"   {_paint('1;31', '!! ' + text)}", flush=True)
