"""Whether the gateway may be sent requests: facts that are fresh, a record that can be written, a certificate."""

from dataclasses import dataclass
from typing import Any

from sekisho.errors import SekishoError
from sekisho.gateway.facts import Facts
from sekisho.gateway.server import HttpServer
from sekisho.gateway.tls import ServingCertificate
from sekisho.kube.probes import Answer
from sekisho.recording.record import Record


@dataclass(frozen=True, slots=True)
class State:
    """What health is read from."""

    facts: Facts
    record: Record
    certificate: ServingCertificate
    server: HttpServer

    def problems(self) -> list[str]:
        """Say what keeps this replica from answering; a missing policy is not one, since it is a request's answer."""
        found = []
        try:
            self.facts.check_fresh()
        except SekishoError as error:
            found.append(error.message)
        if self.record.problem is not None:
            found.append(f"the record cannot be written: {self.record.problem}")
        if not self.certificate.is_loaded:
            found.append("there is no certificate yet")
        if self.server.draining:
            found.append("this replica is about to end")
        return found

    def live(self) -> Answer:
        """Answer /healthz: a restart cures none of the problems; that the loop answers is what liveness means here."""
        return True, self.describe()

    def ready(self) -> Answer:
        """Answer /readyz."""
        return not self.problems(), self.describe()

    def describe(self) -> dict[str, Any]:
        """Return the facts behind the answer."""
        age, head = self.facts.age_seconds(), self.record.head
        return {
            "problems": self.problems(),
            "factsAgeSeconds": None if age == float("inf") else round(age, 1),
            "record": {"log": head.origin, "entries": head.size, "root": head.root.hex()},
        }
