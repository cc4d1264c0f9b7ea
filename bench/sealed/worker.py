"""A process with the reference libraries: loads weights one way or another, measures itself, checks what it loaded.

Runs under the Python of `reference_home`; takes one JSON object a line and answers with one.
"""

import gc
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from joserfc import jwe
from joserfc.jwk import OctKey
from safetensors import safe_open
from safetensors.torch import load_file
from tensorizer import DecryptionParams, EncryptionParams, TensorDeserializer, TensorSerializer

from bench.sealed.opened import open_sealed
from sekisho.loader.mapping import Region
from sekisho.loader.opening import read_file
from sekisho.loader.tensors import load_tensors

MODEL = "model.safetensors"
_THREADS = 2
_LEAST_WARMED = 3 << 29
_GIVEN_BACK_SECONDS = 2.5
_JWE_KEY = OctKey.import_key(bytes(range(32)))
Tensors = dict[str, torch.Tensor]


class Loads:
    """The ways to load one model; each returns its tensors or bytes, and whatever must live as long as these.

    Args:
        request: The model: "plain" and "sealed" paths, "dataKey", and a "work" folder.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self._plain = Path(request["plain"])
        self._model = open_sealed(Path(request["sealed"]), request["dataKey"])
        self._work = Path(request["work"])
        self._tensorizer_key: bytes | None = None

    def sealed(self) -> tuple[Tensors, object]:
        """The product's loader, its views as tensors."""
        loaded = load_tensors(self._model, MODEL, threads=_THREADS)
        tensors = {
            name: torch.frombuffer(tensor.view, dtype=torch.bfloat16).reshape(tensor.shape)
            for name, tensor in loaded.tensors.items()
        }
        return tensors, loaded

    def safetensors(self) -> tuple[Tensors, object]:
        """Map the plain file and copy each tensor out of it."""
        mapped = load_file(self._plain)
        return {name: tensor.clone() for name, tensor in mapped.items()}, None

    def safetensors_hashed(self) -> tuple[Tensors, object]:
        """Hash the plain file first, as one does who checks it against a digest."""
        with self._plain.open("rb") as file:
            hashlib.file_digest(file, "sha256")
        return self.safetensors()

    def tensorizer(self) -> tuple[Tensors, object]:
        """Read tensorizer's own encrypted file with two readers."""
        encryption = DecryptionParams.from_key(self._tensorizer_key)
        reader = TensorDeserializer(
            self._work / "model.tensors", device="cpu", num_readers=_THREADS, encryption=encryption
        )
        return {name: reader[name] for name in reader}, reader

    def write_tensorizer(self) -> None:
        """Write tensorizer's encrypted file."""
        parameters = EncryptionParams.random()
        self._tensorizer_key = parameters.key
        writer = TensorSerializer(self._work / "model.tensors", encryption=parameters)
        writer.write_state_dict(load_file(self._plain))
        writer.close()

    def jwe(self) -> tuple[bytes, object]:
        """Read the whole file and decrypt its compact form."""
        return jwe.decrypt_compact((self._work / "model.jwe").read_bytes(), _JWE_KEY, registry=_registry()).plaintext, 0

    def write_jwe(self) -> None:
        """Encrypt the whole file as one JWE, key used directly."""
        header = {"alg": "dir", "enc": "A256GCM"}
        text = jwe.encrypt_compact(header, self._plain.read_bytes(), _JWE_KEY)
        (self._work / "model.jwe").write_bytes(text.encode())

    def sealed_file(self) -> tuple[memoryview, object]:
        """The product's loader, the whole file."""
        region = read_file(self._model, MODEL, threads=_THREADS)
        return region.view, region

    def warm_memory(self) -> None:
        """Take as much memory as a load will need, and let go of it.

        A virtual machine may give free memory back to its host, some 2 s after it was let go of; having it again can
        take longer than everything that is measured here, and would be charged to whoever comes first. So what an
        earlier load let go of is given back before, not in the midst of the next one.
        """
        time.sleep(_GIVEN_BACK_SECONDS)
        for _ in range(2):
            with Region(max(self._plain.stat().st_size * 9 // 8, _LEAST_WARMED)) as region:
                region.populate()

    def check(self, found: Any) -> bool:
        """Compare with the plain file."""
        if not isinstance(found, dict):
            return memoryview(found).nbytes == self._plain.stat().st_size and _digest(found) == self._plain_digest()
        with safe_open(self._plain, framework="pt") as plain:
            names = set(plain.keys())
            return names == set(found) and all(
                torch.equal(found[name].view(torch.int16), plain.get_tensor(name).view(torch.int16)) for name in names
            )

    def _plain_digest(self) -> bytes:
        with self._plain.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()


class _Registry(jwe.JWERegistry):
    max_ciphertext_length = 1 << 40


def _registry() -> jwe.JWERegistry:
    return _Registry()


def _digest(data: Any) -> bytes:
    return hashlib.sha256(data).digest()


def measure(loads: Loads, load: Callable[[], tuple[Any, object]]) -> dict[str, object]:
    """Load once; the peak is counted from what was resident before."""
    loads.warm_memory()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    found, kept = load()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = _status("VmHWM") - before
    return {"wall": wall, "cpu": cpu, "peak": peak, "right": loads.check(found), "kept": kept is not None}


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def main() -> None:
    """Answer requests until the input ends."""
    torch.set_num_threads(_THREADS)
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    loads: Loads | None = None
    for line in sys.stdin:
        request = json.loads(line)
        name = request["do"]
        if name == "open":
            loads, answer = Loads(request), {}
        elif name.startswith("write_"):
            answer = getattr(loads, name)() or {}
        else:
            answer = measure(loads, getattr(loads, name))
        gc.collect()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
