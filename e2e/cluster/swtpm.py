"""Software TPMs (swtpm) with a maker of their own, for tests of processes and for nodes of a local cluster."""

import hashlib
import shutil
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from e2e.cluster.errors import ClusterError
from e2e.cluster.host import require_packages
from e2e.cluster.processes import end, poll, spawn, tail
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Cluster

PACKAGES = {"swtpm": "swtpm", "swtpm_setup": "swtpm-tools"}
NODE_FOLDER = "/var/lib/sekisho-test-tpm"
"""Where a node finds its TPM's socket; the attester's `attester.tpm.socket` is this folder's `tpm.sock`."""
NODE_SOCKET = f"{NODE_FOLDER}/tpm.sock"


@dataclass(frozen=True, slots=True)
class TpmMaker:
    """An authority that makes TPMs: swtpm's own tool, with a root in a folder of its own.

    Attributes:
        folder: Must be of one test session alone; several makers do not know each other.
    """

    folder: Path

    def prepare(self, report: Report = silent) -> Self:
        """Install swtpm where it is missing, and write the configuration of its tools."""
        require_packages(PACKAGES, report)
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder
        (folder / "localca.conf").write_text(
            f"statedir = {folder}\nsigningkey = {folder}/signkey.pem\nissuercert = {folder}/issuercert.pem\n"
            f"certserial = {folder}/certserial\n"
        )
        (folder / "localca.options").write_text(
            "--platform-manufacturer sekisho\n--platform-version 1\n--platform-model test\n"
        )
        (folder / "setup.conf").write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\ncreate_certs_tool_config = {folder}/localca.conf\n"
            f"create_certs_tool_options = {folder}/localca.options\n"
        )
        return self

    @property
    def root_pem(self) -> str:
        """The maker's root; there once it has made a TPM."""
        return (self.folder / "swtpm-localca-rootca-cert.pem").read_text()

    @property
    def intermediate_pem(self) -> str:
        """The authority below the root, which signs the certificates of endorsement keys."""
        return (self.folder / "issuercert.pem").read_text()


class SoftwareTpm:
    """One TPM behind a Unix socket; its PCRs 0 to 7 hold values of a boot that never was.

    Args:
        folder: Its state and its socket `tpm.sock`; anybody may connect.
        maker: Who certifies its endorsement keys.
        rsa_bits: 2048 or 3072.
    """

    def __init__(self, folder: Path, maker: TpmMaker, *, rsa_bits: int = 2048) -> None:
        self.folder = folder
        self.maker = maker
        self.rsa_bits = rsa_bits
        self.socket = folder / "tpm.sock"
        self._pid_file = folder / "pid"
        self._log = folder / "log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def make(self) -> None:
        """Manufacture it: endorsement keys (RSA, and ECC P-384) and their certificates."""
        state = self.folder / "state"
        state.mkdir(parents=True, exist_ok=True)
        command = (
            "swtpm_setup", "--tpm2", "--tpmstate", str(state), "--create-ek-cert", "--overwrite",
            "--rsa-keysize", str(self.rsa_bits), "--config", str(self.maker.folder / "setup.conf"),
            "--logfile", str(self._log),
        )  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"swtpm_setup failed:\n{tail(self._log)}{done.stderr}", remedy=f"read {self._log}")

    def start(self) -> None:
        """Power it on and boot; made first where it is new."""
        if not (self.folder / "state").exists():
            self.make()
        self.socket.unlink(missing_ok=True)
        command = (
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder / 'state'}",
            "--server", f"type=unixio,path={self.socket},mode=0666", "--flags", "not-need-init,startup-clear",
        )  # fmt: skip
        spawn(command, log=self._log, pid_file=self._pid_file)
        if not poll(self._listens, seconds=60):
            raise ClusterError(f"swtpm did not start:\n{tail(self._log)}", remedy=f"read {self._log}")
        for number in range(8):
            self.extend(number, f"boot {number}".encode())

    def _listens(self) -> bool:
        """Tell whether it takes connections: its socket is there a moment before."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            return trial.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        """Power it off; its keys stay, its PCRs are gone."""
        end(self._pid_file)

    def extend(self, pcr: int, data: bytes) -> None:
        """Measure something into a PCR of the SHA-256 bank."""
        digests = struct.pack(">IH", 1, 0xB) + hashlib.sha256(data).digest()
        session = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
        body = struct.pack(">I", pcr) + session + digests
        self.execute(struct.pack(">HII", 0x8002, 10 + len(body), 0x182) + body)

    def execute(self, command: bytes) -> bytes:
        """Send one command and return the answer.

        Raises:
            ClusterError: The TPM refuses.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            connection.sendall(command)
            answer = connection.recv(4096)
        code = int.from_bytes(answer[6:10], "big")
        if code:
            raise ClusterError(f"the software TPM answered {code:#x}", remedy=f"read {self._log}")
        return answer


def give_tpm(cluster: Cluster, node: str, tpm: SoftwareTpm) -> None:
    """Give a node of a local cluster its TPM: the socket appears at NODE_SOCKET, on this node alone."""
    place = cluster.place(node)
    place.run("mkdir", "-p", NODE_FOLDER)
    place.run("mount", "--bind", str(tpm.folder), NODE_FOLDER)
