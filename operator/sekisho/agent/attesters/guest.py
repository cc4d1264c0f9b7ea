"""Evidence of a guest of Confidential Containers, from the attestation agent that answers on its loopback."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sekisho.attest.binding import Binding
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.guest_evidence import parse_guest_evidence
from sekisho.errors import Reason, SekishoError, UnavailableError

PORT: Final = 8006
TIMEOUT_SECONDS: Final = 15.0
TOTAL_SECONDS: Final = 30.0
MAX_ANSWER_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class GuestAgent:
    """The guest's own agent. It takes text alone, so evidence of it carries the binding's 32 bytes in hexadecimal.

    Attributes:
        total_seconds: Bound of the whole answer: an engine shares the pod's loopback, and could listen there to drip.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    total_seconds: float = TOTAL_SECONDS

    @property
    def kinds(self) -> frozenset[str]:
        """Name what such guests are."""
        return frozenset({"snp", "tdx"})

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        """Ask for evidence (see the Protocol); nothing listens outside such a guest."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.connect()
            with _bounded(connection.sock, self.total_seconds) as late:
                connection.request("GET", f"/aa/evidence?runtime_data={binding.digest(32).hex()}")
                response = connection.getresponse()
                data = response.read(MAX_ANSWER_BYTES + 1)
            if late.is_set():
                raise _failed(f"no whole answer within {self.total_seconds:g} s")
            if response.status != 200:
                raise _failed(f"it answered {response.status}")
            if len(data) > MAX_ANSWER_BYTES:
                raise _failed(f"its answer has more than {MAX_ANSWER_BYTES} bytes")
            return (parse_guest_evidence(data),)
        except ConnectionRefusedError:
            return ()
        except (OSError, http.client.HTTPException) as error:
            raise _failed(type(error).__name__) from error
        except SekishoError as error:
            raise error if isinstance(error, UnavailableError) else _failed(error.message) from error
        finally:
            connection.close()


def _failed(why: str) -> UnavailableError:
    return UnavailableError(Reason.EVIDENCE_MISSING, f"the guest's attestation agent gives no evidence: {why}")


@contextlib.contextmanager
def _bounded(line: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """End a connection after so many seconds, and tell whether that was so."""
    late = threading.Event()

    def cut_off() -> None:
        late.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
