"""What the owner of a model does at a desk: keys, sealing, signing, pushing; by the command line alone."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from e2e.cluster.registry import Registry
from e2e.installation import ROOT

SIGNER, BOARD, STRANGER = "model-release", "model-board", "stranger"
CLASS = "internal+vault"
MODEL = "vault/tiny"
KEY = "desk"


@dataclass(frozen=True, slots=True)
class Owner:
    """A desk with a key service that is a file, and private keys in files.

    Attributes:
        folder: Everything of the owner's.
        plain: Folder of the model before it was sealed.
        registry: Where it is pushed to.
    """

    folder: Path
    plain: Path
    registry: Registry

    @property
    def kms(self) -> str:
        """The key as the command line names it."""
        return f"unsafe-development:{self.folder / KEY}.json"

    def prepare(self) -> None:
        """Make the key-encryption key and everybody's private keys."""
        from sekisho.kms.unsafe_development import create_unsafe_key  # noqa: PLC0415 - the desk's own

        create_unsafe_key(self.folder / f"{KEY}.json")
        for name in (SIGNER, BOARD, STRANGER):
            data = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self.private(name).touch(mode=0o600)
            self.private(name).write_bytes(data)

    def private(self, name: str) -> Path:
        """Return the file of somebody's private key."""
        return self.folder / f"{name}.pem"

    def public(self, name: str) -> str:
        """Return somebody's public key, PEM."""
        key = serialization.load_pem_private_key(self.private(name).read_bytes(), password=None)
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return pem.decode()

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run `sekisho ARGUMENTS --json` and return what it prints.

        Raises:
            RuntimeError: It failed; carries what it wrote.
        """
        path = os.pathsep.join(str(part) for part in (ROOT / "operator", ROOT))
        done = subprocess.run(
            (sys.executable, "-m", "sekisho.cli.main", *arguments, "--json"),
            check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"sekisho {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def seal(self, name: str, *, version: int) -> Path:
        """Seal the plain model under a version and return the new folder."""
        out = self.folder / name
        self.run(
            "seal", str(self.plain), "--class", CLASS, "--model", MODEL, f"--version={version}", "--kms", self.kms,
            "--allow-unsafe-key", "--licence", "Apache-2.0", "--out", str(out),
        )  # fmt: skip
        return out

    def sign(self, sealed: Path, *, who: str = SIGNER) -> None:
        """Sign with somebody's key."""
        self.run("sign", str(sealed), "--key", str(self.private(who)))

    def approve(self, sealed: Path) -> dict[str, Any]:
        """Approve as the board and return what the Model is to carry."""
        done = self.run("approve", str(sealed), "--role", BOARD, "--by", "board", "--key", str(self.private(BOARD)))
        return {name: done[name] for name in ("role", "by", "at", "signature")}

    def push(self, sealed: Path, *, tag: str) -> str:
        """Push from the desk and return the storageUri as the cluster knows it."""
        desk = self.registry.url.removeprefix("http://")
        digest = self.run("push", str(sealed), f"oci://{desk}/sealed/tiny:{tag}", "--plain-http")["digest"]
        return f"oci://{self.registry.host}/sealed/tiny@{digest}"
