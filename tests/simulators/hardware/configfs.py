"""The kernel's folder of attestation reports, without such a kernel: /sys/kernel/config/tsm/report, served by FUSE.

It behaves as Documentation/ABI/testing/configfs-tsm-report says: whoever makes a folder finds the attributes in it,
each write of `inblob` counts `generation` up, a read of `outblob` makes the report of what was written last, and what
was never written cannot be read. Needs root and /dev/fuse.

    with serve_tsm(root, chip_source(SimulatedSnp())):
        (root / "mine").mkdir()
"""

import contextlib
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.simulators.hardware.snp import SimulatedSnp

MAX_INBLOB: Final = 64
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2
_LOOKUP, _FORGET, _GETATTR, _SETATTR, _MKDIR, _RMDIR, _OPEN, _READ, _WRITE = 1, 2, 3, 4, 9, 11, 14, 15, 16
_RELEASE, _FLUSH, _INIT, _OPENDIR, _READDIR, _RELEASEDIR, _INTERRUPT, _BATCH_FORGET = 18, 25, 26, 27, 28, 29, 36, 42
_SILENT: Final = {_FORGET, _INTERRUPT, _BATCH_FORGET}
_ROOT = 1
_FILES: Final = ("inblob", "outblob", "auxblob", "generation", "provider", "privlevel", "privlevel_floor")
_MODES: Final = {"inblob": 0o200, "privlevel": 0o200}


@dataclass(frozen=True)
class Report:
    """What hardware answers; `aux` is empty where the provider has no such thing."""

    out: bytes
    aux: bytes = b""


@dataclass
class TsmSource:
    """What makes reports.

    Attributes:
        provider: As the kernel calls it: "sev_guest" or "tdx_guest".
        make: Makes the report of an inblob; may raise OSError, which the reader gets.
        disturb: Called after each report that was made; writes again what it returns, as another process would.
    """

    provider: str
    make: Callable[[bytes], Report]
    disturb: Callable[[], bytes | None] = lambda: None
    asked: list[bytes] = field(default_factory=list)


def chip_source(chip: SimulatedSnp) -> TsmSource:
    """Let a simulated chip answer."""
    return TsmSource("sev_guest", lambda inblob: Report(chip.report(inblob), chip.certificate_table()))


@dataclass
class _Entry:
    source: TsmSource
    name: str
    inblob: bytes | None = None
    written: int = 0
    read: int = 0
    report: Report = Report(b"")

    @property
    def files(self) -> tuple[str, ...]:
        return _FILES if self.source.provider == "sev_guest" else _FILES[:2] + _FILES[3:5]

    def write(self, name: str, data: bytes) -> None:
        if name == "privlevel":
            return
        if name != "inblob":
            raise OSError(errno.EPERM, "read-only")
        if not 0 < len(data) <= MAX_INBLOB:
            raise OSError(errno.EINVAL, "an inblob has 1 to 64 bytes")
        self.inblob = data
        self.written += 1

    def content(self, name: str) -> bytes:
        if name == "generation":
            return f"{self.written}\n".encode()
        if name == "provider":
            return f"{self.source.provider}\n".encode()
        if name == "privlevel_floor":
            return b"0\n"
        if self.inblob is None:
            raise OSError(errno.EINVAL, "nothing was written")
        if self.read != self.written:
            self._refresh()
        return self.report.out if name == "outblob" else self.report.aux

    def _refresh(self) -> None:
        assert self.inblob is not None
        self.source.asked.append(self.inblob)
        self.report = self.source.make(self.inblob)
        self.read = self.written
        if (other := self.source.disturb()) is not None:
            self.write("inblob", other)


@dataclass
class _Tree:
    source: TsmSource
    entries: dict[int, _Entry] = field(default_factory=dict)
    following: int = 2

    def find(self, parent: int, name: str) -> int:
        if parent == _ROOT:
            for node, entry in self.entries.items():
                if entry.name == name:
                    return node
        elif parent in self.entries and name in self.entries[parent].files:
            return parent + 1 + _FILES.index(name)
        raise OSError(errno.ENOENT, name)

    def add(self, name: str) -> int:
        if any(entry.name == name for entry in self.entries.values()):
            raise OSError(errno.EEXIST, name)
        node, self.following = self.following, self.following + 16
        self.entries[node] = _Entry(self.source, name)
        return node

    def file(self, node: int) -> tuple[_Entry, str]:
        base = 2 + (node - 2) // 16 * 16
        if base not in self.entries or node == base:
            raise OSError(errno.ENOENT, "gone")
        return self.entries[base], _FILES[node - base - 1]

    def attributes(self, node: int) -> bytes:
        if node == _ROOT or node in self.entries:
            mode = 0o040755
        else:
            _, name = self.file(node)
            mode = 0o100000 | _MODES.get(name, 0o400)
        return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class _Server:
    def __init__(self, tree: _Tree, device: int) -> None:
        self._tree, self._device = tree, device

    def run(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 17)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return
            _, opcode, unique, node, *_ = struct.unpack_from("<IIQQIIIHH", request)
            if opcode in _SILENT:
                continue
            try:
                code, body = 0, self._answer(opcode, node, request[40:])
            except OSError as error:
                code, body = -(error.errno or errno.EIO), b""
            except Exception:  # noqa: BLE001 - whoever reads would wait for ever
                code, body = -errno.EIO, b""
            with contextlib.suppress(OSError):
                os.write(self._device, struct.pack("<IiQ", 16 + len(body), code, unique) + body)

    def _answer(self, opcode: int, node: int, data: bytes) -> bytes:
        answers: dict[int, Callable[[int, bytes], bytes]] = {
            _INIT: self._begin, _LOOKUP: lambda node, data: self._entry(self._tree.find(node, _text(data))),
            _GETATTR: self._describe, _SETATTR: self._describe, _MKDIR: self._make, _RMDIR: self._remove,
            _OPEN: lambda _node, _data: struct.pack("<QII", 0, 1, 0),  # direct: nothing of a read is kept
            _OPENDIR: lambda _node, _data: bytes(16), _READ: self._read, _WRITE: self._write, _READDIR: self._list,
            _RELEASE: lambda _node, _data: b"", _RELEASEDIR: lambda _node, _data: b"",
            _FLUSH: lambda _node, _data: b"",
        }  # fmt: skip
        if opcode not in answers:
            raise OSError(errno.ENOSYS, "not served")
        return answers[opcode](node, data)

    def _begin(self, _node: int, data: bytes) -> bytes:
        _, minor, readahead, _ = struct.unpack_from("<4I", data)
        return struct.pack("<4IHHIIHHI7I", 7, min(31, minor), readahead, 0, 8, 8, 65536, 1, 0, 0, 0, *[0] * 7)

    def _describe(self, node: int, _data: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._tree.attributes(node)

    def _make(self, node: int, data: bytes) -> bytes:
        if node != _ROOT:
            raise OSError(errno.EPERM, "no folders in a folder")
        return self._entry(self._tree.add(_text(data[8:])))

    def _remove(self, node: int, data: bytes) -> bytes:
        del self._tree.entries[self._tree.find(node, _text(data))]
        return b""

    def _read(self, node: int, data: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", data)
        entry, name = self._tree.file(node)
        return entry.content(name)[offset : offset + size]

    def _write(self, node: int, data: bytes) -> bytes:
        _, _, size = struct.unpack_from("<QQI", data)
        entry, name = self._tree.file(node)
        entry.write(name, data[40 : 40 + size])
        return struct.pack("<II", size, 0)

    def _entry(self, node: int) -> bytes:
        return struct.pack("<4QII", node, 0, 0, 0, 0, 0) + self._tree.attributes(node)

    def _list(self, node: int, data: bytes) -> bytes:
        offset = struct.unpack_from("<QQ", data)[1]
        found = (
            [(item, entry.name, 4) for item, entry in self._tree.entries.items()]
            if node == _ROOT
            else [(node + 1 + _FILES.index(name), name, 8) for name in self._tree.entries[node].files]
        )
        out = b""
        for index, (item, name, kind) in enumerate(found[offset:], start=offset + 1):
            record = struct.pack("<QQII", item, index, len(name), kind) + name.encode()
            out += record.ljust(-(-len(record) // 8) * 8, b"\0")
        return out


def can_serve() -> bool:
    """Tell whether this machine lets a test mount by FUSE."""
    return os.geteuid() == 0 and Path("/dev/fuse").exists()


@contextlib.contextmanager
def serve_tsm(root: Path, source: TsmSource) -> Iterator[TsmSource]:
    """Serve the folder at `root`, which must exist, for as long as the context is open.

    Raises:
        OSError: This machine does not let us mount.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    try:
        if libc.mount(b"tsm", str(root).encode(), b"fuse", _MS_NOSUID | _MS_NODEV, options) != 0:
            raise OSError(ctypes.get_errno(), "the folder cannot be mounted by FUSE")
        thread = threading.Thread(target=_Server(_Tree(source), device).run, name="tsm", daemon=True)
        thread.start()
        try:
            yield source
        finally:
            libc.umount2(str(root).encode(), _MNT_DETACH)
            thread.join(60)
    finally:
        os.close(device)


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode()
