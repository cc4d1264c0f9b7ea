"""Templates that hide a name in many ways: what Jinja's own sandbox sees must have been found."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import SandboxedEnvironment

from tests.unit.scan.models import scan_one


class Recorder(SandboxedEnvironment):
    """Renders as engines do, and remembers which inner attributes a template reached for."""

    def __init__(self) -> None:
        super().__init__(extensions=["jinja2.ext.loopcontrols"])
        self.reached: set[str] = set()

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr.startswith("_"):
            self.reached.add(attr)
        return super().is_safe_attribute(obj, attr, value)


HALVES = [("'__cl'", "'ass__'"), ("'__'", "'class__'"), ("'_'", "'_class__'"), ("'__class'", "'__'")]
USES = ["x[{}]", "[x]|map(attribute={})|list", "x|attr({})", "[x]|map('attr', {})|list"]


def texts_of(a: str, b: str) -> list[str]:
    """Expressions whose value is "__class__"."""
    return [
        "'__class__'", "'__CLASS__'|lower", "'__ssalc__'|reverse", "' __class__ '|trim", "'__class__x'[:-1]",
        f"{a} ~ {b}", f"({a} + {b})", f"[{a}, {b}]|join", f"({a}, {b})|join('')", f"''.join([{a}, {b}])",
        f"'%s%s' % ({a}, {b})", f"'%s%s'|format({a}, {b})",
        f"'{{}}{{}}'.format({a}, {b})", f"(({a}) ~ 'X' ~ ({b}))|replace('X', '')", f"('a' if x == 1 else {a}) ~ {b}",
        f"[{a} ~ {b}]|first", f"{{'k': {a} ~ {b}}}['k']", f"{{'k': {a} ~ {b}}}.k",
        f"[{a} ~ {b}]|map('lower')|list|last", f"({a} ~ {b})|default('x')", f"namespace(k={a} ~ {b}).k",
        f"dict(k={a} ~ {b}).k", f"dict(k={a} ~ {b})['k']", f"[{a} ~ {b}][0]", f"({a} ~ {b})|string",
        f"({a} ~ {b}).strip()", f"({a} ~ {b} ~ ',').split(',')[0]", f"(({a} ~ {b})|list)|join",
    ]  # fmt: skip


def ways_of(text: str, use: str) -> list[str]:
    """Templates that reach for what such an expression names."""
    return [
        "{{ " + use.format(text) + " }}",
        "{% set k = " + text + " %}{{ " + use.format("k") + " }}",
        "{% set k = " + text + " %}{% set j = k %}{{ " + use.format("j") + " }}",
        "{% set k, j = " + text + ", 1 %}{{ " + use.format("k") + " }}",
        "{% set n = namespace() %}{% set n.k = " + text + " %}{{ " + use.format("n.k") + " }}",
        "{% set n = namespace(k=" + text + ") %}{{ " + use.format("n.k") + " }}",
        "{% set n = namespace(k=" + text + ") %}{{ " + use.format("n['k']") + " }}",
        "{% set n = {'k': " + text + "} %}{{ " + use.format("n['k']") + " }}",
        "{% set n = [" + text + "] %}{{ " + use.format("n[0]") + " }}",
        "{% set n = [" + text + "] %}{{ " + use.format("n|first") + " }}",
        "{% set k %}{{ " + text + " }}{% endset %}{{ " + use.format("k") + " }}",
        "{% for k in [" + text + "] %}{{ " + use.format("k") + " }}{% endfor %}",
        "{% for k in [" + text + "] %}{% set j = k %}{{ " + use.format("j") + " }}{% endfor %}",
        "{% macro f(k) %}{{ " + use.format("k") + " }}{% endmacro %}{{ f(" + text + ") }}",
        "{% macro f(k=" + text + ") %}{{ " + use.format("k") + " }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{{ " + use.format("varargs[0]") + " }}{% endmacro %}{{ f(" + text + ") }}",
        "{% macro f() %}{{ " + use.format("kwargs.k") + " }}{% endmacro %}{{ f(k=" + text + ") }}",
        "{% macro f() %}{{ caller(" + text + ") }}{% endmacro %}{% call(k) f() %}{{ " + use.format("k")
        + " }}{% endcall %}",
        "{% with k = " + text + " %}{{ " + use.format("k") + " }}{% endwith %}",
        "{% macro f() %}" + "{{ " + text + " }}" + "{% endmacro %}{{ " + use.format("f()") + " }}",
        "{% for k in [" + text + "] recursive %}{{ " + use.format("k") + " }}{% endfor %}",
        "{% set n = namespace() %}{% set j = n %}{% set j.k = " + text + " %}{{ " + use.format("n.k") + " }}",
        "{% macro f(k) %}{{ " + use.format("k") + " }}{% endmacro %}{% set g = [f] %}{{ g[0](" + text + ") }}",
        "{% macro f(k) %}{{ " + use.format("k") + " }}{% endmacro %}{% set g = f %}{{ g(" + text + ") }}",
        "{% macro f(k) %}{{ " + use.format("k") + " }}{% endmacro %}{{ f(*[" + text + "]) }}",
        "{% macro f(k) %}{{ " + use.format("k") + " }}{% endmacro %}{{ f(**{'k': " + text + "}) }}",
        "{% set n = dict({'k': " + text + "}) %}{{ " + use.format("n.k") + " }}",
        "{% for k in ['a'] recursive %}{{ " + use.format("k") + " }}{{ loop([" + text
        + "]) if k == 'a' }}{% endfor %}",
        "{% set n = [] %}{% set _ = n.append(" + text + ") %}{{ " + use.format("n[0]") + " }}",
        "{% macro h(k) %}{{ " + use.format("k") + " }}{% endmacro %}{% macro f(j) %}{% endmacro %}{% macro g(f) %}{{ f("
        + text + ") }}{% endmacro %}{{ g(h) }}",
        "{% macro f() %}{{ caller() }}{% endmacro %}{% call(k=" + text + ") f() %}{{ " + use.format("k")
        + " }}{% endcall %}",
        "{% filter replace('a', 'a') %}{{ " + use.format(text) + " }}{% endfilter %}",
    ]  # fmt: skip


TEXTS = len(texts_of(*HALVES[0]))
WAYS = len(ways_of("a", USES[0]))


def reach(template: str) -> set[str]:
    recorder = Recorder()
    with contextlib.suppress(Exception):
        recorder.from_string(template).render(x="x", messages=[{"role": "user", "content": "hi"}])
    return recorder.reached


def check(template: str) -> None:
    assert reach(template) == {"__class__"}, f"it does not reach anything: {template}"
    assert scan_one("a.jinja", template.encode()), f"it is not found: {template}"


@pytest.mark.parametrize("way", range(WAYS))
def test_a_name_put_together_is_found_whatever_way_it_takes(way: int) -> None:
    check(ways_of("'__cl' ~ 'ass__'", "x[{}]")[way])


@pytest.mark.parametrize("text", range(TEXTS))
@pytest.mark.parametrize("halves", HALVES)
def test_a_name_is_found_however_it_is_put_together(halves: tuple[str, str], text: int) -> None:
    check(ways_of(texts_of(*halves)[text], "x[{}]")[1])


@given(st.sampled_from(HALVES), st.integers(0, TEXTS - 1), st.sampled_from(USES), st.integers(0, WAYS - 1))
@settings(max_examples=100, deadline=None)
def test_what_the_sandbox_sees_was_found(halves: tuple[str, str], text: int, use: str, way: int) -> None:
    template = ways_of(texts_of(*halves)[text], use)[way]
    if reach(template):
        assert scan_one("a.jinja", template.encode()), template


def test_the_recorder_sees_what_a_template_reaches_for() -> None:
    assert reach("{{ x['__cl' ~ 'ass__'] }}") == {"__class__"}
    assert reach("{{ messages[0]['content'] }}") == set()
