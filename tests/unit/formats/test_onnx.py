from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.formats import onnx
from sekisho.formats.choose import parse_layout
from sekisho.formats.layout import Layout, show
from sekisho.formats.onnx import MAX_DEPTH, MAX_FILE_BYTES, parse_onnx
from sekisho.formats.protobuf import Wire
from tests.unit.formats.files import (
    block,
    build_gguf,
    build_onnx,
    build_safetensors,
    initializer,
    node,
    number,
    varint,
)

A = initializer("a", (2, 3), 1, bytes(24))
B = initializer("b", (3,), 22, b"\x01\x02", packed=True)
PLACE = block(1, b"location") + block(2, b"weights/a.bin") + number(3, 1)
ELSEWHERE = (
    initializer("c", (9,), 1, None) + block(13, PLACE) + block(13, block(1, b"offset") + block(2, b"0")) + number(14, 1)
)
GOOD = (
    build_onnx(A, B, ELSEWHERE, graph=block(15, block(1, B)))
    + varint(99 << 3 | 5)
    + bytes(4)
    + varint(98 << 3 | 1)
    + bytes(8)
)


def parse(data: bytes) -> Layout:
    return parse_onnx(BytesIO(data), len(data))


def location(place: str) -> bytes:
    return build_onnx(initializer("c", (9,), 1, None) + block(13, block(1, b"location") + block(2, place.encode())))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "it has 0 graphs, 1 is needed", id="empty"),
        pytest.param(build_onnx() * 2, "it has 2 graphs, 1 is needed", id="two graphs"),
        pytest.param(varint(7 << 3 | 2) + varint(9), "a field of 9 bytes at byte 2 passes the end at 2", id="cut"),
        pytest.param(b"\x00\x00", "has the number 0", id="field 0"),
        pytest.param(varint(1 << 3 | 3), "has the wire type 3, which is not known", id="group"),
        pytest.param(b"\xff" * 11, "has more than 10 bytes", id="long number"),
        pytest.param(b"\x80", "a number of 1 bytes at byte 1 passes the end of 1 bytes", id="open number"),
        pytest.param(b"\x0d\x00", "a number of 4 bytes at byte 1 passes", id="fixed"),
        pytest.param(block(7, b"\x08") + b"\x00", "a part ends at byte 3, its last field at 4", id="part"),
        pytest.param(build_onnx(initializer("a", (1,), 99, None)), "has the type 99, which is not known", id="type"),
        pytest.param(build_onnx(initializer("a", (2,), 1, b"x")), "of FLOAT needs 8 bytes and has 1", id="size"),
        pytest.param(build_onnx(initializer("a", (2**40,) * 4, 1, b"x")), "of FLOAT needs", id="overflow"),
        pytest.param(build_onnx(initializer("a", (1,), 8, b"x")), "of STRING needs 0 bytes and has 1", id="text"),
        pytest.param(build_onnx(initializer("a", (1,) * 17, 1, b"")), "more than 16 dimensions", id="dimensions"),
        pytest.param(
            build_onnx(initializer("a", (1,) * 18, 1, b"", packed=True)), "more than 16 dimensions", id="packed"
        ),
        pytest.param(build_onnx(initializer("a", (2**64 - 1,), 1, b"")), "or a negative one", id="negative"),
        pytest.param(
            build_onnx(block(1, b"") + initializer("a" * 513, (), 1, b"")), "has 513 bytes, 512 are", id="name"
        ),
        pytest.param(build_onnx(block(8, b"\xff")), "is not UTF-8", id="latin"),
        pytest.param(location("../secret"), 'stands in "../secret", which is not inside', id="climbing"),
        pytest.param(location("/etc/passwd"), "which is not inside the model's folder", id="absolute"),
        pytest.param(location("a\\b"), "which is not inside the model's folder", id="backslash"),
        pytest.param(location("c:a"), "which is not inside the model's folder", id="drive"),
        pytest.param(location("a" * 1025), "has 1025 bytes, 1024 are allowed", id="long place"),
    ],
)
def test_a_malformed_or_oversized_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        parse(data)
    assert caught.value.reason is Reason.FORMAT_INVALID
    assert caught.value.message.startswith("not a valid ONNX file: ")


def test_a_file_over_2_gib_is_refused_before_it_is_read() -> None:
    with pytest.raises(RefusedError, match=f"it has {MAX_FILE_BYTES + 1} bytes, {MAX_FILE_BYTES} are allowed"):
        parse_onnx(BytesIO(b""), MAX_FILE_BYTES + 1)


@pytest.mark.parametrize("data", [b"\x08\x00" * 101, build_onnx(graph=block(1, node("A", *[b""] * 101)))])
def test_a_file_of_endless_small_fields_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(onnx, "Wire", lambda cursor: Wire(cursor, fields_left=100))
    with pytest.raises(RefusedError, match="it has more than 2097152 fields"):
        parse(data)


def test_a_file_of_more_tensors_than_any_model_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "MAX_TENSORS", 3)
    with pytest.raises(RefusedError, match="it has more than 3 tensors"):
        parse(build_onnx(*[initializer("a", (1,), 2, b"x")] * 4))


def attribute(field: int, data: bytes) -> bytes:
    return block(1, b"value") + block(field, data)


def subgraph(*tensors: bytes, nodes: bytes = b"") -> bytes:
    return nodes + b"".join(block(5, tensor) for tensor in tensors)


def in_node(*attributes: bytes) -> bytes:
    return build_onnx(graph=block(1, node("If", *attributes)))


def nest(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph, and so on."""
    graph = subgraph(A)
    for _ in range(depth):
        graph = subgraph(nodes=block(1, node("Loop", attribute(6, graph))))
    return number(1, 9) + block(7, graph)


SPARSE = block(1, initializer("v", (2,), 1, bytes(8))) + block(2, initializer("i", (1,), 7, bytes(8))) + number(3, 9)
AWAY = initializer("c", (9,), 1, None) + block(13, block(1, b"location") + block(2, b"../secret"))
HIDDEN = {
    "a constant of a node": lambda tensor: in_node(attribute(5, tensor)),
    "one of several constants of a node": lambda tensor: in_node(attribute(10, A) + block(10, tensor)),
    "a branch": lambda tensor: in_node(attribute(6, subgraph(tensor))),
    "one of several branches": lambda tensor: in_node(attribute(11, subgraph(A)) + block(11, subgraph(tensor))),
    "a node of a branch": lambda tensor: in_node(
        attribute(6, subgraph(nodes=block(1, node("C", attribute(5, tensor)))))
    ),
    "values of a sparse initializer": lambda tensor: build_onnx(graph=block(15, block(1, tensor))),
    "indices of a sparse initializer": lambda tensor: build_onnx(graph=block(15, block(2, tensor))),
    "a sparse constant": lambda tensor: in_node(attribute(22, block(1, tensor))),
    "one of several sparse constants": lambda tensor: in_node(attribute(23, block(1, tensor))),
    "a node of a function": lambda tensor: build_onnx() + block(25, block(7, node("C", attribute(5, tensor)))),
    "a default of a function": lambda tensor: build_onnx() + block(25, block(11, attribute(5, tensor))),
    "a graph that starts training": lambda tensor: build_onnx() + block(20, block(1, subgraph(tensor))),
    "a graph that trains": lambda tensor: build_onnx() + block(20, block(2, subgraph(tensor))),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_a_tensor_outside_the_models_folder_is_refused_wherever_it_hides(place: str) -> None:
    with pytest.raises(RefusedError, match=r'stands in "\.\./secret", which is not inside the model') as caught:
        parse(HIDDEN[place](AWAY))
    assert caught.value.reason is Reason.FORMAT_INVALID


@pytest.mark.parametrize("place", HIDDEN)
def test_a_malformed_tensor_is_refused_wherever_it_hides(place: str) -> None:
    with pytest.raises(RefusedError, match="of FLOAT needs 8 bytes and has 1"):
        parse(HIDDEN[place](initializer("a", (2,), 1, b"x")))


@pytest.mark.parametrize("place", HIDDEN)
def test_tensors_and_files_of_tensors_are_found_wherever_they_hide(place: str) -> None:
    assert parse(HIDDEN[place](ELSEWHERE)).external == ("weights/a.bin",)
    data = HIDDEN[place](B)
    found = next(tensor for tensor in parse(data).tensors if tensor.name == "b")
    assert (found.dtype, found.shape, data[found.offset : found.offset + 2]) == ("INT4", (3,), b"\x01\x02")


def test_graphs_in_graphs_are_walked_to_a_depth_and_no_further() -> None:
    deepest = (MAX_DEPTH - 1) // 3
    assert [tensor.name for tensor in parse(nest(deepest)).tensors] == ["a"]
    with pytest.raises(RefusedError, match=f"its parts lie more than {MAX_DEPTH} deep in each other at byte"):
        parse(nest(deepest + 1))
    with pytest.raises(RefusedError, match="deep in each other"):
        parse(nest(2000))


def test_a_node_tells_whose_operator_it_is_though_the_model_does_not_import_it() -> None:
    nodes = b"".join(block(1, node("Op", domain=domain)) for domain in ("", "com.example", "mine"))
    inner = block(1, node("If", attribute(6, subgraph(nodes=block(1, node("Op", domain="deep"))))))
    data = build_onnx(graph=nodes + inner) + block(25, block(1, b"f") + block(10, b"mine"))
    assert parse(data).domains == ("com.example", "deep")


def test_a_function_tells_whose_operators_it_imports() -> None:
    data = build_onnx() + block(25, block(9, block(1, b"com.example")) + block(10, b"mine"))
    assert parse(data).domains == ("com.example",)


def test_graphs_that_are_attributes_are_none_of_the_model() -> None:
    with pytest.raises(RefusedError, match="it has 0 graphs, 1 is needed"):
        parse(block(25, block(7, node("If", attribute(6, subgraph())))))


def test_the_layout_tells_names_types_places_and_other_files() -> None:
    layout = parse(GOOD)
    assert [(t.name, t.dtype, t.shape, t.size) for t in layout.tensors] == [
        ("a", "FLOAT", (2, 3), 24),
        ("b", "INT4", (3,), 2),
        ("b", "INT4", (3,), 2),
    ]
    raws = (bytes(24), b"\x01\x02", b"\x01\x02")
    assert all(GOOD[t.offset :].startswith(raw) for t, raw in zip(layout.tensors, raws, strict=True))
    assert layout.external == ("weights/a.bin",)
    assert len(layout.boundaries()) == 6


def test_the_layout_tells_whose_operators_are_needed_and_not_defined_by_the_model_itself() -> None:
    opsets = [block(8, block(1, domain) + number(2, 1)) for domain in (b"", b"com.example", b"mine")]
    data = build_onnx() + b"".join(opsets) + block(25, block(1, b"f") + block(10, b"mine"))
    assert parse(data).domains == ("", "com.example")
    assert parse(build_onnx()).domains == ()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_read_and_never_crash(data: bytes) -> None:
    for candidate in (data, block(7, data), build_onnx(data)):
        try:
            parse(candidate)
        except RefusedError:
            continue


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_stays_within_the_file(place: int, mask: int) -> None:
    data = bytearray(GOOD)
    data[place] ^= mask
    try:
        layout = parse(bytes(data))
    except RefusedError:
        return
    assert all(0 <= t.offset <= t.offset + t.size <= len(data) for t in layout.tensors)


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        ("a.safetensors", build_safetensors({}), "safetensors"),
        ("deep/A.GGUF", build_gguf(), "gguf"),
        ("a.onnx", build_onnx(), "onnx"),
    ],
)
def test_the_parser_is_chosen_by_the_name_of_the_file(path: str, data: bytes, kind: str) -> None:
    layout = parse_layout(path, BytesIO(data), size=len(data))
    assert layout is not None
    assert layout.format == kind


def test_a_file_that_is_not_what_its_name_says_is_refused() -> None:
    with pytest.raises(RefusedError, match="not a valid GGUF file"):
        parse_layout("a.gguf", BytesIO(build_onnx()), size=len(build_onnx()))


def test_a_file_of_no_known_format_has_no_layout() -> None:
    assert parse_layout("config.json", BytesIO(b"{}"), size=2) is None


def test_names_from_a_file_are_shown_short_and_printable() -> None:
    assert show("a\n\x1b[31m" + "x" * 100) == '"a??[31m' + "x" * 57 + '"'
