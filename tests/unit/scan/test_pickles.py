import pickle
import struct

import pytest
from picklescan.scanner import ScanResult

from sekisho.scan import machine, pickles
from sekisho.scan.findings import Check, Severity
from sekisho.scan.imports import CALLED, NAMED
from sekisho.scan.machine import MAX_MEMO, MAX_OPCODES
from sekisho.scan.pickles import MAX_PICKLES
from tests.unit.scan.models import (
    build_npy,
    build_zip,
    call,
    framed,
    lines_of,
    scan_one,
    short,
    stack_call,
    state_dict,
    storage,
    torch_legacy,
    torch_zip,
)

BYTES8 = b"\x8e" + struct.pack("<Q", 2**62)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(framed(call("os", "system")), "imports os.system", id="os.system by reduce"),
        pytest.param(framed(stack_call("posix", "system")), "imports posix.system", id="stack global through the memo"),
        pytest.param(b"cos\nsystem\n(S'id'\ntR.", "imports os.system", id="protocol 0"),
        pytest.param(b"(S'id'\nios\nsystem\n.", "imports os.system", id="INST"),
        pytest.param(b"(cos\nsystem\nS'id'\no.", "imports os.system", id="OBJ"),
        pytest.param(framed(b"cos\nsystem\n(" + short("id") + b"t\x81"), "imports os.system", id="NEWOBJ"),
        pytest.param(framed(b"cos\nsystem\n(" + short("id") + b"t}\x92"), "imports os.system", id="NEWOBJ_EX"),
        pytest.param(framed(call("builtins", "getattr")), "imports builtins.getattr", id="getattr chain"),
        pytest.param(framed(call("builtins", "eval")), "imports builtins.eval", id="eval"),
        pytest.param(framed(call("pip", "main")), "imports pip.main", id="pip main"),
        pytest.param(framed(call("torch", "load")), "imports torch.load", id="torch.load of another file"),
        pytest.param(framed(call("torch.storage", "_load_from_bytes")), "imports torch.storage", id="nested"),
        pytest.param(framed(call("numpy.testing._private", "runstring")), "imports numpy.testing", id="runstring"),
        pytest.param(framed(b"csome.thing\nNobodyKnows\n"), "imports some.thing.NobodyKnows", id="not listed"),
        pytest.param(framed(b"\x82\x01"), "number 1 of the extension registry", id="EXT1"),
        pytest.param(framed(b"\x83\x01\x00"), "number 1 of the extension registry", id="EXT2"),
        pytest.param(framed(b"\x84\x01\x00\x00\x00"), "number 1 of the extension registry", id="EXT4"),
        pytest.param(framed(short("os") + short("m") + b"\x85\x93"), "whose name is made while it runs", id="made"),
        pytest.param(framed(b"ctorch\nFloatStorage\n)R"), "calls torch.FloatStorage", id="a type that is only named"),
        pytest.param(framed(storage() + b")R"), "calls something that is not a plain import", id="call of a value"),
        pytest.param(
            framed(b"ccollections\nOrderedDict\n}b"), "sets attributes of collections.OrderedDict itself", id="BUILD"
        ),
        pytest.param(framed(call("os", "system")) + framed(b"}"), "imports os.system", id="first of two"),
        pytest.param(framed(b"}") + framed(call("os", "system")), "imports os.system", id="second of two"),
        pytest.param(b"\x80\x04" + call("os", "system") + b"\xff", "imports os.system", id="runs before it breaks"),
    ],
)  # fmt: skip
def test_a_pickle_that_could_run_code_is_found(data: bytes, message: str) -> None:
    found = [finding for finding in scan_one("model.pkl", data) if message in finding.detail]
    assert [(finding.check, finding.severity) for finding in found] == [(Check.PICKLE, Severity.DANGER)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x80\x04", "cannot be taken apart", id="no end"),
        pytest.param(b"\x80\x04\xff.", "cannot be taken apart", id="no opcode"),
        pytest.param(b"\x80\x04R.", "takes a value from an empty stack", id="empty stack"),
        pytest.param(b"\x80\x040.", "takes a value from an empty stack", id="empty POP"),
        pytest.param(b"\x80\x04(R.", "takes a value from an empty stack", id="a mark is no value"),
        pytest.param(b"\x80\x04}u.", "goes back to a mark that is not there", id="no mark"),
        pytest.param(b"\x80\x04(o.", "makes an object of no class", id="no class"),
        pytest.param(b"\x80\x04h\x07.", "recalls value 7, which it never remembered", id="memo"),
        pytest.param(framed(b"N0" * (MAX_OPCODES // 2) + b"}"), f"has more than {MAX_OPCODES} opcodes", id="opcodes"),
        pytest.param(framed(b"N" + b"\x94" * (MAX_MEMO + 1)), f"remembers more than {MAX_MEMO} values", id="memo size"),
        pytest.param(b"\x80\x04" + BYTES8, "has more than 16777216 bytes", id="2^62 bytes"),
        pytest.param(b"\x80\x04S" + b"x" * (17 << 20), "has more than 16777216 bytes", id="endless line"),
        pytest.param(framed(b"}") + b"trailing", "what follows pickle 1 is none", id="bytes after it"),
        pytest.param(framed(b"N") * MAX_PICKLES, f"{MAX_PICKLES} pickles or more", id="many"),
        pytest.param(b"not a pickle at all", "cannot be taken apart", id="text"),
    ],
)
def test_a_pickle_that_cannot_be_read_to_its_end_is_found(data: bytes, message: str) -> None:
    found = scan_one("model.pkl", data)
    assert [(finding.check, finding.severity) for finding in found] == [(Check.PICKLE, Severity.SUSPECT)]
    assert message in found[0].detail


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.bin", "a.ckpt", "a.joblib", "a.pickle", "a.dat", "a.model", "a"])
def test_a_pickle_is_found_under_any_name(name: str) -> None:
    assert "imports os.system" in lines_of(name, framed(call("os", "system")))


def test_a_pickle_of_protocol_0_is_found_under_a_name_that_promises_nothing() -> None:
    assert "imports os.system" in lines_of("weights.dat", b"cos\nsystem\n(S'id'\ntR.")
    assert "imports os.system" in lines_of("image.png", stack_call("os", "system") + b".")
    assert "imports os.system" in lines_of("weights.foo", stack_call("os", "system") + b".")
    for name in ("weights.foo", "a.model"):
        assert "imports os.system" in lines_of(name, b"cos\nsystem\n(S'id'\ntR\xff runs before it breaks")
    assert "imports os.system" in lines_of("notes.txt", b"cos\nsystem\n(S'id'\ntR.")


def test_at_most_16_imports_of_one_pickle_are_told() -> None:
    body = b"".join(b"cmodule\nname%d\n0" % number for number in range(40))
    assert len(scan_one("a.pkl", framed(body + b"N"))) == 16


@pytest.mark.parametrize("member", ["data.pkl", "data/0"])
def test_a_pickle_inside_an_archive_is_found(member: str) -> None:
    found = scan_one("model.pt", build_zip({f"archive/{member}": framed(call("os", "system"))}))
    assert {finding.where.split(":")[0] for finding in found} == {f"archive/{member}"}
    assert any("imports os.system" in finding.detail for finding in found)


def test_an_archive_of_pytorch_with_code_is_found() -> None:
    report = lines_of("model.pt", torch_zip(**{"code/__torch__.py": b"def forward(): pass"}))
    assert "danger code: model.pt, archive/code/__torch__.py: code (.py)" in report


def test_an_array_of_objects_is_found_and_the_pickle_in_it() -> None:
    report = lines_of("a.npy", build_npy("'|O'", framed(call("os", "system"))))
    assert "a NumPy array of objects" in report
    assert "imports os.system" in report
    assert "imports os.system" in lines_of(
        "a.npz", build_zip({"x.npy": build_npy("'|O'", framed(call("os", "system")))})
    )
    assert "a NumPy array of objects" in lines_of("a.npy", build_npy("[('x', '<f4'), ('y', '|O', (2,))]"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x93NUMPY", "of a version that is not known: ", id="cut"),
        pytest.param(build_npy("'<f4'", version=9), "of a version that is not known: 0900", id="version"),
        pytest.param(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "header of 2147483647 bytes cannot be read", id="long"),
        pytest.param(build_npy("__import__('os')"), "cannot be read", id="code"),
        pytest.param(build_npy("7"), "cannot be read", id="number"),
        pytest.param(build_npy("['<f4']"), "cannot be read", id="no field"),
        pytest.param(b"\x93NUMPY\x01\x00\x02\x00[]", "cannot be read", id="list"),
        pytest.param(b"\x93NUMPY\x01\x00\xb8\x0b" + b"(" * 3000, "cannot be read", id="deep"),
    ],
)
def test_an_array_with_a_strange_header_is_found(data: bytes, message: str) -> None:
    found = scan_one("a.npy", data)
    assert [(finding.check, finding.severity) for finding in found] == [(Check.FORMAT, Severity.SUSPECT)]
    assert message in found[0].detail


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("pytorch_model.bin", torch_zip(), id="torch archive"),
        pytest.param("pytorch_model.bin", torch_legacy(), id="torch before 1.6"),
        pytest.param("data.pkl", state_dict(), id="state dict"),
        pytest.param("a.npy", build_npy("'<f4'", bytes(4)), id="array"),
        pytest.param("a.npy", build_npy("[('x', '<f4'), ('y', [('z', '<i8')])]", version=2), id="structured array"),
        pytest.param("a.npz", build_zip({"x.npy": build_npy("'<f4'", bytes(4))}), id="arrays"),
        pytest.param("empty.pkl", b"", id="empty"),
        *(
            pytest.param(
                "a.pkl",
                pickle.dumps({"a": [1, 2.5, None, True, b"x", "text", (1,)], "b": {3, 4}, "c": 2**80}, protocol),
                id=f"plain values by protocol {protocol}",
            )
            for protocol in range(6)
        ),
        pytest.param("a.pkl", framed(b"(K\x01K\x02" + b"1" + b"N2\x86"), id="POP_MARK and DUP"),
        pytest.param("a.pkl", framed(b"K\x01N0"), id="POP"),
        pytest.param("a.pkl", b"P1\n.", id="persistent id"),
    ],
)  # fmt: skip
def test_plain_weights_and_values_pass(name: str, data: bytes) -> None:
    assert scan_one(name, data) == ()


def test_what_too_wide_a_list_would_let_pass_is_still_found_by_picklescan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NAMED", NAMED | {("os", "system")})
    monkeypatch.setattr(machine, "CALLED", CALLED | {("os", "system")})
    found = scan_one("a.pkl", framed(call("os", "system")))
    assert [(finding.severity, finding.detail) for finding in found] == [
        (Severity.DANGER, "picklescan holds os.system to be dangerous")
    ]


def test_a_pickle_that_picklescan_cannot_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> ScanResult:
        raise IndexError

    monkeypatch.setattr(pickles, "scan_pickle_bytes", fail)
    assert scan_one("a.pkl", framed(b"N"))[0].detail == "picklescan cannot read it: IndexError"
    monkeypatch.setattr(pickles, "scan_pickle_bytes", lambda *_: ScanResult([], scan_err=True))
    assert scan_one("a.pkl", framed(b"N"))[0].detail == "picklescan cannot read it to its end"
