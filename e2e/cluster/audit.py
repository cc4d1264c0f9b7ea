"""Reads the API server's audit log, so that tests can count what a program really asked for."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

AuditLevel = Literal["writes", "all", "off"]
READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the API server saw it."""

    audit_id: str
    user: str
    verb: str
    resource: str
    """`plural.group`, with `/subresource` where there is one; the path for requests of no resource."""
    namespace: str
    name: str
    status: int
    user_agent: str
    is_dry_run: bool

    @property
    def is_write(self) -> bool:
        """Whether it could have changed something stored."""
        return self.verb not in READS and not self.is_dry_run


def render_policy(level: AuditLevel) -> str:
    """Return the audit policy; metadata alone, so that no Secret's content reaches the log."""
    rules: list[dict[str, object]] = [{"level": "Metadata"}]
    if level == "writes":
        rules.insert(0, {"level": "None", "verbs": sorted(READS)})
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    return json.dumps(policy)


def parse_request(line: str) -> Request:
    return read_request(json.loads(line))


def read_request(event: Mapping[str, Any]) -> Request:
    """Return the request that an event of the log, parsed, tells of."""
    reference = event.get("objectRef", {})
    uri: str = event.get("requestURI", "")
    resource = ".".join(filter(None, (reference.get("resource"), reference.get("apiGroup"))))
    if subresource := reference.get("subresource"):
        resource += f"/{subresource}"
    return Request(
        audit_id=event["auditID"],
        user=event.get("user", {}).get("username", ""),
        verb=event["verb"],
        resource=resource or uri.partition("?")[0],
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        status=event.get("responseStatus", {}).get("code", 0),
        user_agent=event.get("userAgent", ""),
        is_dry_run="dryRun=" in uri,
    )


class AuditLog:
    """The audit log of one cluster. The API server writes a line before it answers, so nothing comes late."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def mark(self) -> int:
        """Return a mark; give it to the other methods to see only what came after it."""
        return self.file.stat().st_size if self.file.exists() else 0

    def requests(self, since: int = 0, *, user: str | None = None) -> Iterator[Request]:
        """Yield each request once, in order, optionally of one user alone."""
        if not self.file.exists():
            return
        seen = set()
        with self.file.open(encoding="utf-8") as log:
            log.seek(since)
            for line in log:
                if not line.endswith("\n"):
                    return
                request = parse_request(line)
                if request.audit_id in seen or (user is not None and request.user != user):
                    continue
                seen.add(request.audit_id)
                yield request

    def writes(self, since: int = 0, *, user: str | None = None) -> list[Request]:
        """Return the requests that could have changed something stored (dry runs are none)."""
        return [request for request in self.requests(since, user=user) if request.is_write]

    def counts(
        self, since: int = 0, *, user: str | None = None, where: Callable[[Request], bool] = lambda _: True
    ) -> Counter[tuple[str, str, str]]:
        """Return how many requests there were by (user, verb, resource)."""
        return Counter(
            (request.user, request.verb, request.resource)
            for request in self.requests(since, user=user)
            if where(request)
        )
