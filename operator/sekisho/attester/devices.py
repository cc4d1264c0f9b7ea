"""Devices of the node beside its processor: NVIDIA's GPUs, and the switches between them. Blocking."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.devices import nscq, nvml


class Devices(Protocol):
    """Where evidence of a node's devices comes from."""

    def read(self, nonce: bytes) -> tuple[UnverifiedEvidence, ...]:
        """Return evidence of every device over one nonce of 32 bytes; nothing where there is none that gives some.

        Raises:
            UnavailableError: EvidenceMissing; there is one, and it gave none in time.
        """
        ...


@dataclass(frozen=True, slots=True)
class NvidiaDevices:
    """All GPUs and NVSwitches that the driver shows; switches without a GPU are nobody's.

    Attributes:
        gpus: The driver's library.
        switches: Libraries of switches, the first that is there counts.
    """

    gpus: str = nvml.LIBRARY
    switches: Sequence[str] = nscq.LIBRARIES

    @classmethod
    def below(cls, folder: Path | None) -> "NvidiaDevices":
        """Take the libraries from a folder; from where the loader looks where there is none."""
        if folder is None:
            return cls()
        return cls(str(folder / nvml.LIBRARY), tuple(str(folder / name) for name in nscq.LIBRARIES))

    def read(self, nonce: bytes) -> tuple[UnverifiedEvidence, ...]:
        """Return evidence of every device (see the Protocol)."""
        found = nvml.read_gpus(nonce, library=self.gpus)
        return (*found, *nscq.read_switches(nonce, libraries=self.switches)) if found else ()
