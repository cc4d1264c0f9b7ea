"""Tell what a file is: by its first bytes, then by its name."""

import re
from enum import StrEnum
from typing import Final

_CODE: Final = frozenset(
    {
        "py", "pyc", "pyo", "pyd", "pyw", "pyz", "whl", "egg", "ipynb", "so", "dll", "dylib", "a", "o", "lib", "exe",
        "com", "msi", "sh", "bash", "zsh", "csh", "ps1", "psm1", "bat", "cmd", "vbs", "js", "mjs", "cjs", "ts", "jsx",
        "tsx", "wasm", "jar", "class", "war", "rb", "pl", "pm", "lua", "luac", "r", "jl", "php", "go", "rs", "c", "cc",
        "cpp", "cxx", "h", "hpp", "cu", "cuh", "ptx", "cubin", "hsaco", "java", "kt", "cs", "swift", "scala", "asp",
        "aspx", "jsp", "cgi", "deb", "rpm", "apk", "app", "dmg", "scr", "lnk", "desktop",
    }
)  # fmt: skip
_CODE_NAMES: Final = frozenset({"makefile", "dockerfile", "containerfile", "justfile", "jenkinsfile"})
_PICKLES: Final = frozenset(
    {
        "pkl", "pickle", "p", "pt", "pth", "bin", "ckpt", "joblib", "pt2", "th", "dill",
    }
)  # fmt: skip
_OPAQUE: Final = frozenset(
    {
        "png", "jpg", "jpeg", "gif", "webp", "bmp", "ico", "pdf", "model", "spm", "wav", "mp3", "flac", "ogg", "mp4",
    }
)  # fmt: skip
_TEXTS: Final = frozenset(
    {
        "txt", "md", "rst", "csv", "tsv", "yaml", "yml", "toml", "cfg", "ini", "vocab", "bpe", "tiktoken", "license",
        "licence", "cff", "bib", "log", "html", "svg", "xml",
    }
)  # fmt: skip
_PROMISES: Final = frozenset(
    {"zip", "npz", "keras", "tar", "tgz", "7z", "rar", "gz", "xz", "bz2", "zst", "mar", "nemo", "h5", "hdf5", "npy"}
)
"""Names of files that are known by their content; one that comes so far has another."""
_TOKENIZER: Final = re.compile(r"tokenizer\.model\.v[0-9]+")
_SHARED_OBJECT: Final = re.compile(r"\.(so|dylib)\.[0-9.]+$")

_MACH: Final = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_EXECUTABLES: Final = (
    (b"\x7fELF", "an ELF program or library"),
    (b"\x00asm", "a WebAssembly program"),
    (b"dex\n", "an Android program"),
    (b"\x1bLua", "a Lua program"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    *((magic, "a Mach-O program or a Java class") for magic in _MACH),
)
_ARCHIVES: Final = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"\x5d\x00\x00", "LZMA"),
    (b"!<arch>\n", "an ar archive"),
    (b"MSCF", "a cabinet archive"),
    (b"xar!", "a xar archive"),
)
_ZIPS: Final = tuple((magic, "a zip archive") for magic in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"))
_PICKLE_STARTS: Final = tuple((b"\x80" + bytes([protocol]), "a pickle") for protocol in range(2, 6))
_TAR_BLOCK: Final = 512
_TAR_SUM: Final = slice(148, 156)


class Kind(StrEnum):
    """What a check is chosen by."""

    CODE = "code"
    EXECUTABLE = "executable"
    ZIP = "zip"
    ARCHIVE = "archive"
    HDF5 = "hdf5"
    ARRAY = "array"
    TENSORS = "tensors"
    PICKLE = "pickle"
    JSON = "json"
    TEMPLATE = "template"
    OPAQUE = "opaque"
    TEXT = "text"
    UNKNOWN = "unknown"


_CONTENTS: Final = (
    (Kind.EXECUTABLE, _EXECUTABLES),
    (Kind.ZIP, _ZIPS),
    (Kind.ARCHIVE, _ARCHIVES),
    (Kind.HDF5, ((b"\x89HDF\r\n\x1a\n", "HDF5"),)),
    (Kind.ARRAY, ((b"\x93NUMPY", "a NumPy array"),)),
    (Kind.PICKLE, _PICKLE_STARTS),
)


def tell_kind(name: str, head: bytes) -> tuple[Kind, str]:
    """Tell the kind of a file, and what to call it.

    Args:
        name: Its own name in lower case, without folders.
        head: Its first bytes, at most 4 KiB.
    """
    found, named = _tell_by_content(head, name), _tell_by_name(name)
    if named[0] is Kind.CODE and (found is None or found[0] is not Kind.EXECUTABLE):
        return named  # a wheel is a zip archive as well
    return found or named


def _tell_by_content(head: bytes, name: str) -> tuple[Kind, str] | None:
    suffix = name.rpartition(".")[2]
    # First, because a safetensors file may begin with any two bytes: the length of its header.
    if suffix in {"safetensors", "gguf", "onnx"} or head[:4] == b"GGUF":
        return Kind.TENSORS, suffix if suffix in {"safetensors", "onnx"} else "gguf"
    if _is_tar(head):  # before what its first member may be called: PyTorch looks for tar first, too
        return Kind.ARCHIVE, "a tar archive"
    for kind, table in _CONTENTS:
        if what := next((what for magic, what in table if head.startswith(magic)), ""):
            return kind, what
    if _is_windows_program(head):
        return Kind.EXECUTABLE, "a Windows program or library"
    return None


def _tell_by_name(name: str) -> tuple[Kind, str]:
    suffix = name.rpartition(".")[2] if "." in name else ""
    if suffix in _CODE or name in _CODE_NAMES or _SHARED_OBJECT.search(name):
        return Kind.CODE, f"code (.{suffix})" if suffix else f"code ({name})"
    kinds = {
        "json": Kind.JSON,
        "jsonl": Kind.TEXT,
        "jinja": Kind.TEMPLATE,
        "jinja2": Kind.TEMPLATE,
        "j2": Kind.TEMPLATE,
    }
    if suffix in kinds:
        return kinds[suffix], suffix
    if suffix in _PROMISES:
        return Kind.ARCHIVE, f"not what its name, .{suffix}, promises"
    if _TOKENIZER.fullmatch(name):
        return Kind.OPAQUE, "a tokenizer"
    for known, kind in ((_PICKLES, Kind.PICKLE), (_OPAQUE, Kind.OPAQUE), (_TEXTS, Kind.TEXT)):
        if suffix in known:
            return kind, f".{suffix}"
    return Kind.UNKNOWN, f".{suffix}" if suffix else "without a suffix"


def _is_tar(head: bytes) -> bool:
    """Tell whether a tar archive begins here; the oldest kind has no sign but the sum of its first block."""
    block = head[:_TAR_BLOCK]
    digits = block[_TAR_SUM].strip(b" \x00")
    if len(block) < _TAR_BLOCK or not digits or digits.strip(b"01234567"):
        return False
    rest = block[: _TAR_SUM.start] + b" " * 8 + block[_TAR_SUM.stop :]
    signed = sum(byte - 256 if byte > 127 else byte for byte in rest)
    return int(digits, 8) in {sum(rest), signed}


def _is_windows_program(head: bytes) -> bool:
    place = int.from_bytes(head[0x3C:0x40], "little")
    return head[:2] == b"MZ" and (head[place : place + 2] == b"PE" or b"\x00" in head[:64])


def is_script(head: bytes) -> bool:
    """Tell whether a system would run it as a script."""
    return head[:2] == b"#!" or head[:5].lower() == b"<?php"


def is_text(head: bytes) -> bool:
    """Tell whether the first bytes are UTF-8 without NUL; a sign cut off at the end does not count against it."""
    if b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and error.reason == "unexpected end of data"
    return True
