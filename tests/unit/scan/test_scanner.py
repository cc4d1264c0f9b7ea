import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import pytest

from sekisho.scan.entry import HEAD_BYTES, WHOLE_BYTES, TooLongError, Window
from sekisho.scan.findings import Check, Collector, Finding, Severity, clip, spell_findings
from sekisho.scan.scanner import scan_model
from sekisho.scan.tails import TAIL_BYTES
from sekisho.seal.facts import MAX_FINDINGS
from tests.unit.formats.files import block, build_gguf, build_onnx, build_safetensors, entry, initializer, node, text
from tests.unit.scan.models import (
    File,
    as_json,
    build_chat_gguf,
    build_npy,
    build_weights,
    build_zip,
    call,
    framed,
    scan,
    scan_one,
    state_dict,
    torch_legacy,
)

A = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
LINK = 0o120777 << 16


def external(place: str) -> bytes:
    named = block(13, block(1, b"location") + block(2, place.encode()))
    return build_onnx(initializer("w", (9,), 1, None) + named)


def constant(place: str) -> bytes:
    named = block(13, block(1, b"location") + block(2, place.encode()))
    return build_onnx(graph=block(1, node("Constant", block(5, initializer("w", (9,), 1, None) + named))))


def zip_with(**facts: object) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("a.txt")
        archive.writestr(info, b"text")
        for name, value in facts.items():
            setattr(info, name, value)
    return out.getvalue()


def bomb() -> bytes:
    return build_zip({"a.txt": bytes(80 << 20)}, method=zipfile.ZIP_DEFLATED)


def long_directory() -> bytes:
    """An end of directory that tells of one of 5 MiB."""
    body = b"PK\x03\x04" + bytes(5 << 20)
    return body + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 5 << 20, 4, 0)


def build_tar(kind: int = tarfile.PAX_FORMAT, name: bytes = b"pickle") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        archive.addfile(tarfile.TarInfo(name.decode("latin-1")))
    return out.getvalue()


def old_tar() -> bytes:
    """A tar archive without a sign, whose first member is called as an old file of PyTorch begins."""
    start = torch_legacy()[:80]
    block = bytearray(build_tar(tarfile.USTAR_FORMAT)[:512])
    block[:100] = start.ljust(100, b"\x00")
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block) + bytes(1024)


def overlapping() -> bytes:
    data = build_zip({"a.txt": b"x" * 50, "b.txt": b"y" * 50})
    second = data.index(b"PK\x03\x04", 4)
    directory = data.rindex(b"PK\x01\x02")
    return data[: directory + 42] + (second - 40).to_bytes(4, "little") + data[directory + 46 :]


def commented() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", b"x")
        archive.comment = b"PK\x05\x07"
    return out.getvalue()


DANGEROUS = [
    ("a.safetensors", (2**63).to_bytes(8, "little") + b"{}", Check.FORMAT, "has 9223372036854775808 bytes"),
    ("a.safetensors", build_weights()[:20], Check.FORMAT, "passes the end of 20 bytes"),
    ("a.safetensors", build_safetensors(b'{"a":1,"a":1}'), Check.FORMAT, "two entries of the header have one name"),
    ("a.safetensors", build_safetensors({"a": A, "b": A}, bytes(4)), Check.FORMAT, "begins at byte"),
    ("a.safetensors", framed(call("os", "system")), Check.FORMAT, "not a valid safetensors file"),
    ("a.gguf", build_gguf(counts=(2**40, 0)), Check.FORMAT, "it has 1099511627776 tensors"),
    ("a.gguf", build_gguf(counts=(0, 2**40)), Check.FORMAT, "it has 1099511627776 keys"),
    ("a.gguf", build_gguf((), (entry("a", (2,), 0, 0),) * 2, bytes(40)), Check.FORMAT, "two tensors have one name"),
    ("a.onnx", external("../../etc/passwd"), Check.FORMAT, "which is not inside the model's folder"),
    ("a.onnx", constant("../../etc/passwd"), Check.FORMAT, "which is not inside the model's folder"),
    ("a.onnx", constant("weights.data"), Check.FORMAT, "its tensors stand in weights.data, which is not part"),
    ("a.onnx", external("weights.data"), Check.FORMAT, "its tensors stand in weights.data, which is not part"),
    ("a.safetensors", build_weights() + build_zip({"a": b"b"}), Check.FORMAT, "tensors end at byte"),
    ("a.png", b"\x89PNG\r\n" + build_zip({"a": b"b"}), Check.POLYGLOT, "a zip archive hangs on its end"),
    ("a.zip", build_zip({"../../a.txt": b"x"}), Check.ARCHIVE, "its path leads out of the folder"),
    ("a.zip", build_zip({"/etc/a.txt": b"x"}), Check.ARCHIVE, "its path leads out of the folder"),
    ("a.zip", build_zip({"c:a.txt": b"x"}), Check.ARCHIVE, "its path leads out of the folder"),
    ("a.zip", zip_with(filename=""), Check.ARCHIVE, "its path leads out of the folder"),
    ("a.zip", zip_with(external_attr=LINK), Check.ARCHIVE, "a symbolic link"),
    ("a.zip", long_directory(), Check.ARCHIVE, "its directory has more than 4194304 bytes"),
    ("a.zip", b"PK\x03\x04" + build_zip({"a.txt": b"b"}), Check.POLYGLOT, "something stands before the first member"),
    ("a.zip", overlapping(), Check.ARCHIVE, "two members share bytes"),
    ("a.zip", commented(), Check.POLYGLOT, "another archive hides in its comment"),
    ("lib", b"\x7fELF" + bytes(60), Check.CODE, "an ELF program or library"),
    ("a.json", b"MZ" + bytes(62), Check.CODE, "a Windows program or library"),
    ("lib", b"\xcf\xfa\xed\xfe", Check.CODE, "a Mach-O program"),
    ("run", b"#!/bin/sh\nid\n", Check.CODE, "a script"),
    ("modeling_custom.py", b"import os", Check.CODE, "code (.py)"),
    ("a.so", b"", Check.CODE, "code (.so)"),
    ("libfoo.so.1", b"", Check.CODE, "code (.1)"),
    ("a.js", b"alert()", Check.CODE, "code (.js)"),
    ("a.whl", build_zip({"a.txt": b""}), Check.CODE, "code (.whl)"),
    ("Makefile", b"all:", Check.CODE, "code (makefile)"),
    ("config.json", as_json({"auto_map": {"AutoModel": "m.M"}}), Check.CONFIG, '"auto_map" names classes in code'),
    ("config.json", as_json({"a": [{"auto_map": {"A": "b"}}]}), Check.CONFIG, '"auto_map" names classes in code'),
    ("config.json", b'{"auto_map": {"A": "m.M"}, "auto_map": {}}', Check.CONFIG, '"auto_map" names classes'),
    ("config.json", b'{"auto\\u005fmap": {"A": "m.M"}}', Check.CONFIG, '"auto_map" names classes in code'),
    ("config.json", as_json({"trust_remote_code": True}), Check.CONFIG, '"trust_remote_code" asks for code'),
    ("config.json", as_json({"custom_pipelines": {"p": {}}}), Check.CONFIG, '"custom_pipelines" names a pipeline'),
    ("modules.json", as_json([{"type": "os.system"}]), Check.CONFIG, '"type" names os.system, which would be imported'),
    ("modules.json", as_json([{"type": ["a"]}]), Check.CONFIG, "which would be imported"),
    ("adapter_config.json", as_json({"auto_mapping": {"parent_library": "evil"}}), Check.CONFIG, "names evil"),
    ("config.json", as_json({"class_name": "Lambda"}), Check.CONFIG, "a Lambda layer of Keras"),
    ("a.keras", build_zip({"config.json": as_json({"class_name": "Lambda"})}), Check.CONFIG, "a Lambda layer"),
    ("a.h5", b"\x89HDF\r\n\x1a\n" + b'x"Lambda"', Check.CODE, "a Lambda layer of Keras"),
    ("a.yaml", b"a: !!python/object/apply:os.system ['id']", Check.CONFIG, "YAML that names classes or functions"),
]  # fmt: skip
SUSPECT = [
    ("a.onnx", build_onnx() + block(8, block(1, b"evil.ops")), Check.FORMAT, "needs operators of evil.ops"),
    ("a.zip", b"PK\x03\x04" + bytes(30), Check.ARCHIVE, "a zip archive that cannot be opened"),
    ("a.zip", zip_with(flag_bits=1), Check.ARCHIVE, "encrypted, so nobody can look into it"),
    ("a.zip", build_zip({"a.txt": b"x"}, method=zipfile.ZIP_BZIP2), Check.ARCHIVE, "packed by method 12"),
    ("a.zip", build_zip({"a.txt": b"hello"}).replace(b"hello", b"jello"), Check.ARCHIVE, "cannot be unpacked: Bad CRC"),
    ("a.zip", build_zip({"b.zip": build_zip({"c": b""})}), Check.ARCHIVE, "an archive inside an archive"),
    ("a.zip", build_zip({"b.unknown": b"\xff\x00"}), Check.UNKNOWN, "bytes .unknown that nothing here can look into"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c", Check.ARCHIVE, "a 7z archive: it is not looked into"),
    ("a.rar", b"Rar!\x1a\x07", Check.ARCHIVE, "a RAR archive"),
    ("a.bin", b"\x1f\x8b\x08", Check.ARCHIVE, "gzip: it is not looked into"),
    ("a.txt", build_tar(tarfile.USTAR_FORMAT), Check.ARCHIVE, "a tar archive"),
    ("model.pt", old_tar(), Check.ARCHIVE, "a tar archive"),
    ("a.nemo", b"\x01", Check.ARCHIVE, "not what its name, .nemo, promises: it is not looked into"),
    ("a.h5", b"\x89HDF\r\n\x1a\n", Check.FORMAT, "HDF5, in which code can hide"),
    ("a.npy", b"cos\nsystem\n(S'id'\ntR", Check.ARCHIVE, "not what its name, .npy, promises"),
    ("a.engine", b"\x00\x01", Check.UNKNOWN, "bytes .engine that nothing here can look into"),
    ("engine", b"\x00\x01", Check.UNKNOWN, "bytes without a suffix that nothing here can look into"),
    ("vocab.txt", b"\xff\xfe", Check.UNKNOWN, "no text in UTF-8, though its name ends in .txt"),
    ("config.json", b"{", Check.CONFIG, "no JSON in UTF-8"),
    ("config.json", b"[" * 100_000, Check.CONFIG, "no JSON in UTF-8"),
    ("config.json", b"[]" * 300_000, Check.CONFIG, "JSON with more than 262144 objects and lists"),
    ("config.json", b" " * (9 << 20), Check.CONFIG, "JSON of 9437184 bytes, 8388608 are allowed"),
    ("a.yml", b" " * (9 << 20), Check.CONFIG, "YAML of 9437184 bytes, 8388608 are allowed"),
    ("README.md", b"---\nlicense: [\n---\n", Check.CONFIG, "the front matter of the model card is no YAML"),
    ("README.md", b"---\n- a\n---\n", Check.CONFIG, "the front matter of the model card is not a YAML mapping"),
    ("README.md", b"---\na: &a [x]\nb: *a\n---\n", Check.CONFIG, "the model card uses YAML aliases"),
    ("README.md", b"---\na: " + b"x" * (1 << 20) + b"\n---\n", Check.CONFIG, "has more than 524288 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "data", "check", "message"), DANGEROUS)
def test_what_is_dangerous_is_found(path: str, data: bytes, check: Check, message: str) -> None:
    found = [finding for finding in scan_one(path, data) if message in finding.detail]
    assert [(finding.path, finding.check, finding.severity) for finding in found] == [(path, check, Severity.DANGER)]


def test_a_bomb_is_found() -> None:
    found = [finding for finding in scan_one("a.zip", bomb()) if "a bomb: " in finding.detail]
    assert [(item.path, item.check, item.severity) for item in found] == [("a.zip", Check.ARCHIVE, Severity.DANGER)]


@pytest.mark.parametrize(("path", "data", "check", "message"), SUSPECT)
def test_what_nobody_can_vouch_for_is_found(path: str, data: bytes, check: Check, message: str) -> None:
    found = scan_one(path, data)
    assert [(finding.path, finding.check, finding.severity) for finding in found] == [(path, check, Severity.SUSPECT)]
    assert message in found[0].detail


def test_two_members_of_one_name_are_found() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.txt", b"two")
    assert "two members have one name" in scan_one("a.zip", out.getvalue())[0].detail


@pytest.mark.slow
def test_too_many_members_are_found() -> None:
    data = bytearray(build_zip({f"{number:x}": b"" for number in range(65_537)}))
    assert "it has 65537 members, 65536 are allowed" in scan_one("a.zip", bytes(data))[0].detail


@pytest.mark.parametrize("sizes", [(5, 500), (500, 500)])
def test_a_member_that_ends_early_is_found(sizes: tuple[int, int]) -> None:
    data = build_zip({"a.txt": b"hello"})
    longer = data.replace(struct.pack("<LL", 5, 5), struct.pack("<LL", *sizes))
    assert "cannot be unpacked" in scan_one("a.zip", longer)[0].detail


def test_a_zip_archive_hidden_in_the_weights_is_found_however_long_its_comment() -> None:
    archive = build_zip({"a.py": b"import os"})
    comment = 60_000
    hidden = archive[:-2] + struct.pack("<H", comment) + bytes(comment)
    data = build_safetensors({"a": {"dtype": "U8", "shape": [len(hidden)], "data_offsets": [0, len(hidden)]}}, hidden)
    assert [finding.check for finding in scan_one("a.safetensors", data)] == [Check.POLYGLOT]
    sixty_four = archive[:-22] + b"PK\x06\x07" + bytes(16) + archive[-22:]
    assert [finding.check for finding in scan_one("a.png", b"\x89PNG" + sixty_four)] == [Check.POLYGLOT]


@pytest.mark.parametrize(
    "end",
    [b"PK\x05\x06", b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18, b"PK\x05\x06" * 9],
    ids=["cut", "empty", "larger than the file", "many"],
)
def test_four_bytes_of_chance_are_no_archive(end: bytes) -> None:
    assert scan_one("a.png", b"\x89PNG\x00" + bytes(100) + end) == ()


def test_the_weights_of_onnx_may_be_anything_but_a_pickle_that_imports_or_a_program() -> None:
    model = external("sub/weights.bin")
    assert scan({"a.onnx": model, "sub/weights.bin": b"\x80\x02\xff raw"}).findings == ()
    assert scan({"o/a.onnx": model, "o/sub/weights.bin": b"\x00" * 9}).findings == ()
    wicked = scan({"a.onnx": model, "sub/weights.bin": b"\x80\x02cos\nsystem\n(X\x01\x00\x00\x00itR\xff"})
    assert ["imports os.system" in finding.detail for finding in wicked.findings] == [True]
    assert scan({"a.onnx": model, "sub/weights.bin": b"\x7fELF" + bytes(60)}).findings[0].check is Check.CODE


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("config.json", as_json({"auto_map": {"A": "b"}})),
        ("chat_template.jinja", b"{{ x.__class__ }}"),
        ("run", b"#!/bin/sh"),
        ("a.yaml", b"_target_: os.system"),
        ("a.h5", b"\x89HDF\r\n\x1a\n"),
        ("a.npy", build_npy("'|O'")),
        ("a.7z", b"7z\xbc\xaf\x27\x1c"),
        ("a.pkl", b"cos\nsystem\n(S'id'\ntR."),
    ],
)
def test_naming_a_file_as_weights_of_onnx_hides_nothing_in_it(path: str, data: bytes) -> None:
    assert [finding.path for finding in scan({"a.onnx": external(path), path: data}).findings][:1] == [path]


def test_a_file_that_has_another_size_than_was_listed_is_found() -> None:
    report = scan_model([File("a.txt", b"longer", listed=3), File("b.txt", b"short", listed=99)])
    assert [finding.detail for finding in report.findings] == [
        "it was listed with 3 bytes and has another size", "it was listed with 99 bytes and has another size"
    ]  # fmt: skip
    assert report.digests == {}


def test_a_window_gives_no_more_than_its_bounds() -> None:
    assert Window(io.BytesIO(b"abc"), left=9, most=9).read() == b"abc"
    for left, most in ((2, 9), (9, 2)):
        with pytest.raises(TooLongError):
            Window(io.BytesIO(b"abc"), left=left, most=most).read()
        with pytest.raises(TooLongError):
            Window(io.BytesIO(b"abc"), left=left, most=most).read(3)
        with pytest.raises(TooLongError):
            Window(io.BytesIO(b"abc"), left=left, most=most).readline()


def test_a_path_that_climbs_is_found() -> None:
    assert "a relative path that stays inside its folder is needed" in scan_one("../a.txt", b"")[0].detail


CLEAN: Mapping[str, bytes] = {
    "model-00001-of-00002.safetensors": build_weights(),
    "model.gguf": build_chat_gguf(
        "{{ messages }}", text("general.license") + struct.pack("<I", 8) + text("apache-2.0"),
        text("general.license.name") + struct.pack("<I", 8) + text("whatever"),
    ),
    "onnx/model.onnx": build_onnx(initializer("a", (2,), 1, bytes(8))) + block(8, block(1, b"ai.onnx.ml")),
    "model.safetensors.index.json": b'{"weight_map": {"auto_map": "model-00001-of-00002.safetensors"}}',
    "config.json": as_json({"architectures": ["LlamaForCausalLM"], "license": "apache-2.0", "auto_map": None}),
    "generation_config.json": b'\xef\xbb\xbf{"temperature": NaN}',
    "list.json": b"[]",
    "modules.json": as_json([{"type": "sentence_transformers.models.Transformer"}]),
    "adapter_config.json": as_json({"auto_mapping": {"parent_library": "transformers.models.llama"}}),
    "tokenizer.json": b"not looked into: a large table",
    "tokenizer.model": b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02",
    "tokenizer.model.v3": b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02",
    "tokenizer_config.json": as_json({"chat_template": "{{ messages }}", "trust_remote_code": False}),
    "merges.txt": "Ġ t\nこ れ\n".encode(),
    "vocab.bin.txt": ("あ" * 3000).encode(),
    "README.md": b"---\nlicense: apache-2.0\nbase_model: org/base\ndatasets:\n- a\n- b\n---\n# Model",
    "LICENSE": b"Apache License\nVersion 2.0, January 2004\n",
    "NOTICE": b"",
    "params.yaml": b"a: [1, 2]\n",
    "figures/a.png": b"\x89PNG\r\n\x1a\n\x00",
    "arrays.npz": build_zip({"x.npy": build_npy("'<f4'", bytes(4)), "folder/": b""}, method=zipfile.ZIP_DEFLATED),
    "doc.zip": build_zip({"README.md": b"---\nlicense: mit\n---\n"}),
    "empty.zip": build_zip({}),
}  # fmt: skip


def test_a_model_as_hubs_lay_it_out_is_clean_and_told() -> None:
    report = scan(CLEAN, licence="Apache-2.0")
    assert (report.findings, report.lines(), report.is_clean) == ((), (), True)
    assert (report.files, report.size) == (len(CLEAN), sum(map(len, CLEAN.values())))
    assert report.licence == "Apache-2.0"
    told = report.told
    assert told.tensors == {"safetensors": 1, "gguf": 1, "onnx": 1}
    assert (told.templates, told.architecture) == (2, "LlamaForCausalLM")
    assert (told.base_models, told.datasets) == (("org/base",), ("a", "b"))
    assert set(report.digests) == set(CLEAN)


class Counting(io.BytesIO):
    """Counts what is read of it."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        Counting.total += len(data)
        return data


class Big(File):
    def open(self) -> BinaryIO:
        return Counting(self.data)


def test_large_weights_are_read_by_their_header_and_their_end_alone() -> None:
    Counting.total = 0
    weights = build_weights(40 << 20)
    seen: list[int] = []
    report = scan_model([Big("a.safetensors", weights)], advance=seen.append)
    assert (report.findings, seen) == ((), [len(weights)])
    assert Counting.total < HEAD_BYTES + TAIL_BYTES + 4096
    assert report.digests == {}


@pytest.mark.slow
def test_a_wicked_model_is_scanned_within_64_mib() -> None:
    files = [
        File("bomb.zip", bomb()),
        File("wide.json", b"[" * 200_000 + b'"",' * 300_000),
        File("nine.pkl", framed(b"N\x94" * 20_000)),
        File("long.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 2**40)),
        File("keys.gguf", build_gguf(counts=(0, 65_536))),
        File("a.safetensors", (2**40).to_bytes(8, "little") + bytes(100)),
        File("deep.jinja", b"{{ a" + b"[0]" * 9_000 + b" }}"),
    ]
    tracemalloc.start()
    report = scan_model(files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.counted == len(files) - 2  # the long template and the long pickle do nothing wicked
    assert peak < 64 << 20, peak


def test_findings_beyond_the_limit_are_counted_in_the_last_line_and_danger_stands_first() -> None:
    files = {f"{number:04}.engine": b"\x00\x01" for number in range(MAX_FINDINGS + 50)} | {"z.py": b""}
    report = scan(files)
    lines = report.lines()
    assert (len(report.findings), len(lines), report.counted) == (MAX_FINDINGS, MAX_FINDINGS, MAX_FINDINGS + 51)
    assert lines[0].startswith("danger code: z.py")
    assert lines[-1] == "and 52 more findings"


def test_one_finding_counts_once() -> None:
    found = Collector()
    for _ in range(3):
        found.add(Finding("a", Check.CODE, Severity.DANGER, "", "x"))
    assert (len(found.kept()), found.counted) == (1, 1)


def test_a_line_is_printable_and_has_at_most_256_bytes() -> None:
    line = Finding("あ" * 400 + "\x1b[2J", Check.CODE, Severity.DANGER, "", "x").line()
    assert len(line.encode()) <= 256
    assert line.isprintable()
    assert line.endswith("…")
    assert Finding("", Check.LICENCE, Severity.SUSPECT, "", "x\ny").line() == "suspect licence: the model: x?y"
    assert clip("\x00ab", 9) == "?ab"
    assert spell_findings((), 0) == ()


def test_findings_of_whoever_listed_the_files_come_along() -> None:
    link = Finding("link", Check.LINK, Severity.DANGER, "", "a symbolic link")
    assert scan_model([], before=[link]).findings == (link,)


def test_a_large_member_of_an_archive_is_looked_at_by_its_beginning() -> None:
    large = framed(b"N") + b"\xff" * WHOLE_BYTES
    found = scan_one("a.pt", build_zip({"x.pkl": large}))
    assert ["what follows pickle 1 is none" in finding.detail for finding in found] == [True]
    assert scan_one("a.pt", build_zip({"x/data.pkl": state_dict(), "x/data/0": large})) == ()
    assert scan_one("a.pt", build_zip({"data.pkl": state_dict(), "data/0": large})) == ()


def test_the_word_that_tells_code_in_hdf5_is_found_across_pieces() -> None:
    data = b"\x89HDF\r\n\x1a\n" + bytes((4 << 20) - 8 - 4) + b'"Lambda"'
    assert scan_one("a.h5", data)[0].severity is Severity.DANGER
