from pathlib import Path

import pytest

from sekisho.scan.findings import Check, Finding, Severity
from sekisho.scan.templates import MAX_NODES, MAX_TEMPLATE_BYTES
from tests.unit.scan.models import as_json, build_chat_gguf, scan, scan_one

GOOD = sorted((Path(__file__).parent / "templates").glob("*.jinja"))


def judge(template: str) -> tuple[Finding, ...]:
    return scan_one("chat_template.jinja", template.encode())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param("{{ messages.__class__ }}", "the attribute __class__", id="dunder attribute"),
        pytest.param("{{ messages['__class__'] }}", "the attribute __class__", id="dunder key"),
        pytest.param("{{ cycler.__init__.__globals__.os }}", "the attribute __globals__", id="globals of a function"),
        pytest.param("{{ x._private }}", "the attribute _private", id="one underscore"),
        pytest.param("{{ f.gi_frame.f_back }}", "f_back, which leads to Python's inside", id="frames"),
        pytest.param("{{ x | attr('name') }}", "by the filter attr", id="attr"),
        pytest.param("{{ x | attr('__cla' ~ 'ss__') }}", "by the filter attr", id="attr with a name in pieces"),
        pytest.param("{{ [x] | map(attribute='__class__') | list }}", "reaches for __class__", id="map by attribute"),
        pytest.param("{{ [x] | map('attr', name) | list }}", "reaches for attr by the filter map", id="map by attr"),
        pytest.param("{{ [x] | map(name) | list }}", "puts together what the filter map", id="map by a variable"),
        pytest.param("{{ [x] | map(*names) | list }}", "that cannot be seen", id="map by a list"),
        pytest.param("{{ [x] | map(**names) | list }}", "that cannot be seen", id="map by a mapping"),
        pytest.param("{{ x | selectattr('a.__class__') }}", "reaches for a.__class__", id="selectattr"),
        pytest.param("{{ x | join(', ', '__doc__') }}", "reaches for __doc__", id="join by attribute"),
        pytest.param("{{ x | sort(false, true, 'a._b') }}", "reaches for a._b", id="sort by attribute"),
        pytest.param("{{ x | groupby('__' + name) }}", "puts together what the filter groupby", id="groupby in pieces"),
        pytest.param("{{ x['__cla' ~ 'ss__'] }}", "puts the name of a field together", id="key in pieces"),
        pytest.param("{{ x['__cla' + 'ss__'] }}", "puts the name of a field together", id="key by plus"),
        pytest.param("{{ x['%c%class__' % (95, 95)] }}", "puts the name of a field together", id="key by percent"),
        pytest.param("{{ x['__ssalc__'|reverse] }}", "puts the name of a field together", id="key backwards"),
        pytest.param("{{ x[['__cla', 'ss__']|join] }}", "puts the name of a field together", id="key joined"),
        pytest.param("{{ x['_,_class'.replace(',', '')] }}", "puts the name of a field together", id="key replaced"),
        pytest.param("{% set u = '_' %}{{ x[u*2 ~ 'class' ~ u*2] }}", "puts the name of a", id="key of a variable"),
        pytest.param("{% set u = '_' %}{{ x[u + u] }}", "puts the name of a", id="key of variables alone"),
        pytest.param("{% set k = '__cla' ~ 'ss__' %}{{ x[k] }}", "puts the name of a field together", id="key before"),
        pytest.param(
            "{% set n = namespace() %}{% set n.k = '_' ~ '_' %}{{ x[n.k] }}", "puts the name", id="key in a namespace"
        ),
        pytest.param(
            "{% set k %}__class__{% endset %}{{ x[k] }}", "puts the name of a field together", id="key as block"
        ),
        pytest.param("{% set k = '__class__' %}{{ x[k] }}", "names __class__", id="the name by itself"),
        pytest.param(
            "{% set n = namespace(k='__x__') %}{{ x[n.k] }}", "puts the name of a field", id="key given to a namespace"
        ),
        pytest.param("{% for k in ['_' ~ 'x'] %}{{ x[k] }}{% endfor %}", "puts the name of a", id="key by a loop"),
        pytest.param(
            "{% macro f(k) %}{{ x[k] }}{% endmacro %}{{ f('_' ~ 'x') }}", "puts the name of a", id="key by a macro"
        ),
        pytest.param("{{ x[('_' 'class' '_')|lower] }}", "puts the name of a field together", id="key side by side"),
        pytest.param("{{ self }}", "uses self", id="self"),
        pytest.param("{{ __import__ }}", "uses __import__", id="dunder name"),
        pytest.param("{{ x['a']() }}", "put together or looked up", id="call of an item"),
        pytest.param("{{ f()() }}", "put together or looked up", id="call of what a call gives"),
        pytest.param("{{ '{0.__class__}'.format(x) }}", "calls format on text", id="format"),
        pytest.param("{{ x.format(y) }}", "calls format on text", id="format of a variable"),
        pytest.param("{% import 'a' as a %}", "takes in another file", id="import"),
        pytest.param("{% from 'a' import b %}", "takes in another file", id="from import"),
        pytest.param("{% include '/etc/passwd' %}", "takes in another file", id="include"),
        pytest.param("{% extends 'a' %}", "takes in another file", id="extends"),
    ],
)
def test_a_template_that_reaches_out_is_found(template: str, message: str) -> None:
    found = [finding for finding in judge(template) if message in finding.detail]
    assert [(finding.check, finding.severity, finding.where) for finding in found] == [
        (Check.TEMPLATE, Severity.DANGER, "line 1")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param("{% for i in range(10**9) %}{% endfor %}", "in a range that can be larger", id="range of a power"),
        pytest.param("{% for i in range(1000000) %}{% endfor %}", "in a range that can be larger", id="large range"),
        pytest.param("{% for i in range(n * n) %}{% endfor %}", "in a range that can be larger", id="range multiplied"),
        pytest.param("{{ 9 ** 9 ** 9 }}", "raises to a power", id="power"),
        pytest.param("{{ 'a' * 1000000000 }}", "multiplies by more than 100000", id="repeated text"),
        pytest.param("{{ 1000000000 * 'a' }}", "multiplies by more than 100000", id="repeated text turned round"),
        pytest.param("{{ 'a' | center(10000000) }}", "pads by more than 100000", id="padding"),
        pytest.param("{% for a in b %}" * 9 + "{% endfor %}" * 9, "8 loops in each other", id="loops"),
        pytest.param("{{ a }}" * MAX_NODES, f"more than {MAX_NODES} parts", id="parts"),
        pytest.param("a" * (MAX_TEMPLATE_BYTES + 1), "more than 262144 bytes", id="size"),
        pytest.param("{% if %}", "cannot be parsed: Expected an expression", id="syntax"),
        pytest.param("{% do x.append(1) %}", "cannot be parsed: ", id="unknown tag"),
        pytest.param("{{ " + "(" * 5000 + ")" * 5000 + " }}", "cannot be parsed: RecursionError", id="deep"),
        pytest.param("{{ " + "9" * 5000 + " }}", "cannot be parsed: ", id="long number"),
        pytest.param("{{ lipsum(9) }}", "calls lipsum, which is none of the functions", id="unknown function"),
        pytest.param("{{ x.system('id') }}", "calls the method system", id="unknown method"),
        pytest.param("{{ x | shell }}", "uses the filter shell", id="unknown filter"),
    ],
)
def test_a_template_that_works_without_end_or_cannot_be_read_is_found(template: str, message: str) -> None:
    found = [finding for finding in judge(template) if message in finding.detail]
    assert [(finding.check, finding.severity) for finding in found] == [(Check.TEMPLATE, Severity.SUSPECT)]


def test_a_finding_names_the_line() -> None:
    assert judge("a\nb\n{{ x.__class__ }}")[0].where == "line 3"


def test_a_template_that_is_no_text_is_found() -> None:
    assert scan_one("a.jinja", b"{{ \xff }}")[0].detail == "no template in UTF-8"
    assert scan_one("a.jinja", b"x" * (17 << 20))[0].detail == "no template in UTF-8"


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("tokenizer_config.json", as_json({"chat_template": "{{ x.__class__ }}"})),
        ("tokenizer_config.json", as_json({"chat_template": [{"name": "tool", "template": "{{ x.__class__ }}"}]})),
        ("tokenizer_config.json", b'{"chat_template": "{{ x.__class__ }}", "chat_template": "{{ x }}"}'),
        ("tokenizer_config.json", as_json({"chat_template": {"default": "{{ x.__class__ }}", "n": [1]}})),
        ("processor_config.json", as_json({"tool_chat_template": "{{ x.__class__ }}"})),
        ("chat_template.json", as_json({"chat_template": "{{ x.__class__ }}"})),
        ("processor_config.json", as_json({"deep": [{"chat_template": "{{ x.__class__ }}"}]})),
        ("chat_template.j2", b"{{ x.__class__ }}"),
        ("additional_chat_templates/tool.jinja", b"{{ x.__class__ }}"),
        ("model.gguf", build_chat_gguf("{{ x.__class__ }}")),
        ("renamed", build_chat_gguf("{{ x.__class__ }}")),
    ],
)
def test_a_template_is_found_wherever_models_keep_one(path: str, data: bytes) -> None:
    assert [finding.detail for finding in scan_one(path, data)] == ["reaches for the attribute __class__"]


@pytest.mark.parametrize("place", GOOD, ids=lambda place: place.stem)
def test_the_templates_of_well_known_kinds_of_models_pass(place: Path) -> None:
    template = place.read_text()
    assert judge(template) == ()
    report = scan({"m.gguf": build_chat_gguf(template), "tokenizer_config.json": as_json({"chat_template": template})})
    assert (report.findings, report.told.templates) == ((), 2)


@pytest.mark.parametrize(
    "template",
    [
        "{{ '{:.2f} of {}'.format(1, 2) }}",
        "{{ messages | map(attribute='content') | join('_') }}",
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}",
        "{% set role = 'user' if x else 'tool' %}{{ names[role] }}{{ names[messages[loop.index0 - 1]['role']] }}",
        "{% set a, b = 1, 2 %}{{ x[a + b] }}{{ x[1:] }}{{ x[-1] }}{{ x | sum(attribute=0) }}",
        "{% macro f(x) %}{{ caller() }}{% endmacro %}{% call f(1) %}y{% endcall %}",
        "{% macro f(x) %}{{ x }}{% endmacro %}{% set fs = [f] %}{% for i in range(3) %}{{ fs[i](i) }}{% endfor %}",
        "{% set n = namespace(i=0) %}{% set n.i = n.i + 1 %}{{ x[n.i] }}{{ 'ab' * 3 }}{{ x | indent(4) }}",
        "{% filter upper %}x{% endfilter %}{{ x is defined }}{{ 'ひらがな' }}",
    ],
)
def test_what_templates_need_passes(template: str) -> None:
    assert judge(template) == ()
