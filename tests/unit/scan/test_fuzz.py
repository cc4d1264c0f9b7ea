import contextlib
import io
import pickle
import tracemalloc
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.scan.findings import MAX_LINE_BYTES
from sekisho.scan.imports import NAMED
from tests.unit.scan.models import (
    build_chat_gguf,
    build_npy,
    build_weights,
    build_zip,
    framed,
    scan,
    stack_call,
    state_dict,
    torch_legacy,
    torch_zip,
)

NAMES = (
    "a.pkl", "a.bin", "a.npy", "a.npz", "a.zip", "a.safetensors", "a.gguf", "a.onnx", "a.jinja", "config.json",
    "README.md", "LICENSE", "a.yaml", "a.h5", "a.png", "a",
)  # fmt: skip
GOOD = (
    state_dict(), torch_zip(), torch_legacy(), build_npy("'<f4'", bytes(4)), build_npy("'|O'", framed(b"N")),
    build_weights(), build_chat_gguf("{% for m in messages %}{{ m['a'] | trim }}{% endfor %}"),
    build_zip({"a/b.json": b'{"a": 1}', "c.npy": build_npy("'<f4'")}), framed(stack_call("os", "system")),
    b"{{ messages[0]['role'] ~ x.y(1)|map(attribute='a') }}", b'{"auto_map": {"a": "b"}, "chat_template": "{{ x }}"}',
    b"---\nlicense: mit\ndatasets: [a]\n---\n", b"(S'a'\nios\nsystem\np1\ng1\n.",
)  # fmt: skip
PEAK_BYTES = 64 << 20


def check(name: str, data: bytes) -> None:
    """Scan, and see that nothing but findings comes out, all of them fit for the manifest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes and of zip members, which are for readers of code
        report = scan({name: data})
    for line in report.lines():
        assert 1 <= len(line.encode()) <= MAX_LINE_BYTES
        assert line.isprintable()


@given(st.sampled_from(NAMES), st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_under_any_name_give_findings_or_none(name: str, data: bytes) -> None:
    check(name, data)


@pytest.mark.slow
@given(st.sampled_from(NAMES), st.sampled_from(GOOD), st.data())
@settings(max_examples=200, deadline=None)
def test_files_with_bytes_changed_cut_or_repeated_give_findings_or_none(
    name: str, good: bytes, draw: st.DataObject
) -> None:
    data = bytearray(good)
    for _ in range(draw.draw(st.integers(0, 4))):
        place = draw.draw(st.integers(0, len(data) - 1))
        data[place] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(1, len(data)))
    check(name, bytes(data[:cut]) + bytes(data[:cut] if draw.draw(st.booleans()) else b""))


OPCODES = (
    b"(", b".", b"0", b"1", b"2", b"N", b"}", b"]", b")", b"t", b"R", b"b", b"u", b"s", b"o", b"\x81", b"\x92",
    b"\x93", b"\x94", b"Q", b"q\x00", b"h\x00", b"h\x01", b"a", b"e", b"d", b"l", b"\x85", b"\x86", b"\x87", b"K\x01",
    b"\x82\x01", b"\x8c\x02os", b"\x8c\x06system", b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"ios\nsystem\n",
    b"\x97", b"\x98", b"\x8f", b"\x90", b"\x91", b"P1\n", b"J\x00\x00\x00\x00",
    b"\x95\x01\x00\x00\x00\x00\x00\x00\x00",
)  # fmt: skip


class Dummy:
    """Stands for whatever a pickle imports: takes everything, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        self.nothing = None

    def __call__(self, *_: object) -> "Dummy":
        return self

    def __setstate__(self, _: object) -> None:
        return


def imports_of(unpickler: Any, data: bytes) -> set[tuple[str, str]]:
    """What Python itself imports when it loads `data`, without importing it."""
    asked = set()

    class Recorder(unpickler):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> type:
            asked.add((module, name))
            return Dummy

        def persistent_load(self, _: object) -> Dummy:
            return Dummy()

    with contextlib.suppress(Exception):
        Recorder(io.BytesIO(data)).load()
    return asked


@pytest.mark.slow
@pytest.mark.parametrize("unpickler", [pickle.Unpickler, pickle._Unpickler])
@given(opcodes=st.lists(st.sampled_from(OPCODES), max_size=30))
@settings(max_examples=250, deadline=None)
def test_what_python_would_import_is_found_in_any_order_of_opcodes(unpickler: Any, opcodes: list[bytes]) -> None:
    data = b"\x80\x04" + b"".join(opcodes) + b"."
    lines = "\n".join(scan({"a.pkl": data}).lines())
    for module, name in imports_of(unpickler, data) - NAMED:
        assert f"imports {module}.{name}" in lines


@given(st.lists(st.sampled_from(OPCODES), max_size=20))
@settings(max_examples=100, deadline=None)
def test_an_import_is_found_whatever_follows(opcodes: list[bytes]) -> None:
    data = b"\x80\x04" + b"cos\nsystem\n" + b"".join(opcodes)
    assert "imports os.system" in "\n".join(scan({"a.pkl": data}).lines())


PIECES = (
    "{{", "}}", "{%", "%}", " for ", " in ", " if ", " endif ", " endfor ", " set ", " x ", " = ", "'__class__'", "'a'",
    "['", "']", "[", "]", "(", ")", "|", "attr", "map", "(attribute=", ".", "__init__", "range", "99", "**", "~", "+",
    "*", " macro f() ", " endmacro ", "namespace(a=1)", "format", "\n", "あ", "{#", "#}", " is ", "defined",
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(st.sampled_from(PIECES), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_order_of_the_pieces_of_templates_gives_findings_or_none(pieces: list[str]) -> None:
    check("a.jinja", "".join(pieces).encode())


@pytest.mark.parametrize("good", GOOD, ids=range(len(GOOD)))
def test_lengths_that_lie_allocate_nothing(good: bytes) -> None:
    tracemalloc.start()
    for place in range(0, len(good), max(1, len(good) // 20)):
        data = good[:place] + b"\xff\xff\xff\x7f\xff\xff\xff\x7f" + good[place + 8 :]
        for name in ("a.bin", "a.zip", "a.safetensors", "a.gguf"):
            check(name, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < PEAK_BYTES, peak
