"""Evidence of the NVIDIA GPUs that this container sees."""

from dataclasses import dataclass

from sekisho.attest.binding import Binding
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.devices.asking import NONCE_BYTES, TOTAL_SECONDS
from sekisho.devices.nvml import LIBRARY, read_gpus


@dataclass(frozen=True, slots=True)
class NvidiaGpus:
    """The GPUs that this container sees."""

    library: str = LIBRARY
    seconds: float = TOTAL_SECONDS

    @property
    def kinds(self) -> frozenset[str]:
        """Name the kind."""
        return frozenset({"nvidia-gpu"})

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        """Return a report of each GPU over one nonce, the 32 bytes of the binding (see the Protocol)."""
        return read_gpus(binding.digest(NONCE_BYTES), library=self.library, seconds=self.seconds)
