"""Make the package index's CUDA build of torch load on a machine without CUDA's libraries. A test artefact.

No CPU build of this torch is in a package index. The CUDA build runs on CPUs as it is but wants gigabytes of CUDA
libraries to load. Each of those is replaced here by a stub that holds exactly the symbols torch asks of it: functions
return an error or zero, data is zero. Nothing on the CPU path calls them.
Who runs vLLM for real takes vLLM's own images.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from imagebuild.failure import ensure_program, run_program

from vllm.elf import Linkage, Symbol, find_section, read_linkage

_LANGUAGE_RUNTIMES = re.compile(r"^(GLIBC|GLIBCXX|CXXABI|GCC|OMP|GOMP)")
_GIVEN_BY_TOOLCHAIN = frozenset(
    {"__cxa_finalize", "__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable"}
)
_TEXT_RESULTS = frozenset({"cudaGetErrorString", "cudaGetErrorName"})
_CUDA_NO_DEVICE, _CUPTI_NOT_INITIALISED = 100, 15


def stub_cuda(torch: Path, root: Path) -> list[str]:
    """Write a stub beside torch's libraries for each library that is wanted and nowhere in the image.

    Args:
        torch: the installed torch package.
        root: the image's root, whose own libraries win.

    Returns:
        The sonames that were stubbed.
    """
    ensure_program("gcc", package="gcc")
    ensure_program("readelf", package="binutils")
    folder = torch / "lib"
    libraries = sorted(p for p in folder.glob("*.so*") if not p.name.startswith("libgomp"))
    libraries += sorted(torch.glob("_C*.so"))
    linkage = read_linkage(libraries)
    present = _sonames_in(root, torch) | {p.name for p in libraries} | {"libgomp.so.1"}
    missing = sorted(linkage.needed - present)
    system = read_linkage(_wanted_system_libraries(linkage, root))
    for soname, symbols in _share_out(linkage, missing, given=system.defined).items():
        _write_stub(folder / soname, symbols)
    return missing


def _sonames_in(root: Path, torch: Path) -> set[str]:
    system = {p.name for p in root.glob("usr/lib/*-linux-gnu/*.so*")} | {p.name for p in root.glob("usr/lib64/*")}
    return system | {p.name for p in torch.parent.glob("nvidia/*/lib/*.so*")}


def _wanted_system_libraries(linkage: Linkage, root: Path) -> list[Path]:
    return [p for p in sorted(root.glob("usr/lib/*-linux-gnu/*.so*")) if p.name in linkage.needed]


def _share_out(linkage: Linkage, missing: Sequence[str], *, given: frozenset[str]) -> dict[str, list[Symbol]]:
    """Give every symbol nobody defines to the missing library it is wanted from; unversioned ones to the first."""
    shares: dict[str, list[Symbol]] = {soname: [] for soname in missing}
    for symbol in sorted(linkage.undefined, key=lambda s: (s.name, s.version)):
        if symbol.name in linkage.defined or symbol.name in given or _LANGUAGE_RUNTIMES.match(symbol.version):
            continue
        if symbol.version:
            owner = linkage.version_owner.get(symbol.version, "")
        elif symbol.is_weak or symbol.name.startswith(("Py", "_Py")) or symbol.name in _GIVEN_BY_TOOLCHAIN:
            continue
        else:
            owner = missing[0] if missing else ""
        if owner in shares:
            shares[owner].append(symbol)
    return shares


def _write_stub(target: Path, symbols: Sequence[Symbol]) -> None:
    lines, versions = [".text"], defaultdict(set)
    for symbol in symbols:
        lines += (
            _data(symbol.name)
            if symbol.is_data or symbol.name.startswith(("_ZTV", "_ZTI", "_ZTS"))
            else _function(symbol.name, target.name)
        )
        if symbol.version:
            versions[symbol.version].add(symbol.name)
    lines += [".data", ".balign 64", ".Lzero: .zero 4096", '.section .note.GNU-stack,"",@progbits', ""]
    with tempfile.TemporaryDirectory() as work:
        source, script = Path(work, "stub.s"), Path(work, "versions.map")
        source.write_text("\n".join(lines))
        script.write_text("".join(f"{v} {{ global: {'; '.join(sorted(versions[v]))}; }};\n" for v in sorted(versions)))
        link = [f"-Wl,--version-script,{script}"] if versions else []
        run_program(
            [
                "gcc",
                "-shared",
                "-nostdlib",
                "-Wl,--build-id=none",
                "-o",
                target,
                f"-Wl,-soname,{target.name}",
                *link,
                source,
            ]
        )


def _data(name: str) -> list[str]:
    return [
        ".data",
        f".globl {name}",
        f".type {name},@object",
        ".balign 16",
        f"{name}:",
        ".zero 512",
        f".size {name},512",
        ".text",
    ]


def _function(name: str, soname: str) -> list[str]:
    if name in _TEXT_RESULTS:
        body = "leaq .Lzero(%rip),%rax"
    elif soname.startswith("libcudart"):
        body = f"movl ${_CUDA_NO_DEVICE},%eax"
    elif soname.startswith("libcupti"):
        body = f"movl ${_CUPTI_NOT_INITIALISED},%eax"
    else:
        body = "xorl %eax,%eax"
    return [f".globl {name}", f".type {name},@function", f"{name}:", body, "ret", f".size {name},.-{name}"]


def drop_device_code(torch: Path) -> int:
    """Blank the code for GPUs in torch's libraries, which compresses to nothing; return the bytes blanked."""
    blanked = 0
    for library in sorted((torch / "lib").glob("libtorch_*.so")):
        if section := find_section(library, ".nv_fatbin"):
            offset, size = section
            content = library.read_bytes()
            with library.open("wb") as file:
                file.write(content[:offset])
                file.seek(offset + size)  # a hole, no zeros on disk
                file.write(content[offset + size :])
            blanked += size
    return blanked
