"""An example of a policy: one file with what is there before, and the request that is allowed or denied.

The first document says who asks and how:

    why: one sentence, what the example shows
    as: user name of who asks, or `admin`; ROOM in it stands for the namespace, as in the names of nodes
    namespaceClass: class of the namespace all of it happens in
    given: objects that are there before, each {as: user name, object: …}
    patch, subresource, verb, query: what is asked of the last given object; without them, the second document is made
    denied: words of the refusal (deny examples only)
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sekisho.api.names import API_VERSION, CLASS_LABEL
from tests.integration.api.server import CLUSTER_KINDS, MERGE, STRATEGIC, Answer, ApiServer, Person, locate, wait_until

MASTERS = "system:masters"
SENTINEL = "sekisho-test-sentinel"


@dataclass(frozen=True, slots=True)
class Example:
    """One file, read."""

    path: Path
    head: Mapping[str, Any]
    body: Mapping[str, Any] | None

    @classmethod
    def read(cls, path: Path) -> "Example":
        documents = list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))
        return cls(path, documents[0], documents[1] if len(documents) > 1 else None)

    def prepare(self, server: ApiServer, room: str) -> None:
        """Label the namespace and make what is there before."""
        if value := self.head.get("namespaceClass"):
            classify_namespace(server, room, value)
        for item in self.head.get("given", ()):
            server.must(server.create(place(item["object"], room), person=person(item["as"])))

    def ask(self, server: ApiServer, room: str) -> Answer:
        """Make the request, as a dry run wherever the API has one."""
        who = person(self.head["as"].replace("ROOM", room))
        if self.body is not None:
            return server.create(place(self.body, room), person=who, dry_run=True)
        target = place(self.head["given"][-1]["object"], room)
        path = locate(target) + (f"/{self.head['subresource']}" if "subresource" in self.head else "")
        verb = self.head.get("verb", "patch")
        if verb == "connect":
            return server.request("POST", f"{path}?{self.head.get('query', '')}", person=who)
        if verb == "delete":
            return server.request("DELETE", f"{path}?dryRun=All&{self.head.get('query', '')}", person=who)
        if verb == "replace":
            body = {**self.head["request"], "metadata": {"name": target["metadata"]["name"]}}
            return server.request("PUT", f"{path}?dryRun=All", body, person=who)
        if verb == "create":
            return server.request("POST", f"{path}?dryRun=All", self.head["request"], person=who)
        query = "?dryRun=All&fieldValidation=Strict"
        kind = (
            MERGE if target["apiVersion"] == API_VERSION else STRATEGIC
        )  # built-in lists merge by key, as kubelets do
        return server.request("PATCH", path + query, self.head["patch"], person=who, content_type=kind)


def classify_namespace(server: ApiServer, room: str, value: str) -> None:
    """Give a namespace a class, and wait until admission knows: it reads namespaces from a cache."""
    patch = {"metadata": {"labels": {CLASS_LABEL: value}}}
    server.must(server.request("PATCH", f"/api/v1/namespaces/{room}", patch, content_type=MERGE))
    wait_until(lambda: f"<{value}>" in ask_sentinel(server, room), what="the namespace's class to be known")


def ask_sentinel(server: ApiServer, room: str) -> str:
    """Return what a policy of the tests, which refuses one ConfigMap, says of the namespace."""
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SENTINEL, "namespace": room}}
    return server.create(probe, dry_run=True).message


def person(name: str) -> Person:
    """Impersonate a user whom RBAC allows everything, so that only admission decides; `editor` knows no sekisho."""
    if name == "admin":
        return Person("test-admin", (MASTERS, "system:authenticated"))
    if name == "editor":
        return Person("test-editor", ("test-editors", "system:authenticated"))
    groups = ("system:nodes",) if name.startswith("system:node:") else ()
    return Person(name, (MASTERS, "system:authenticated", *groups))


def place(manifest: Mapping[str, Any], room: str) -> dict[str, Any]:
    """Put an object into the namespace of the test; a Namespace or Node of the example becomes one of its own name."""
    placed = copy.deepcopy(dict(manifest))
    if placed["kind"] in {"Namespace", "Node"}:
        placed["metadata"]["name"] = f"{room}-{placed['metadata']['name']}"
    elif placed["kind"] not in CLUSTER_KINDS:
        placed["metadata"]["namespace"] = room
    return placed


def was_denied_by(answer: Answer, topic: str) -> bool:
    """Whether an admission policy of the topic refused."""
    return answer.status in (403, 422) and f"ValidatingAdmissionPolicy 'sekisho-{topic}" in answer.message


def was_denied_by_any(answer: Answer) -> bool:
    """Whether any admission policy of ours refused, or could not be evaluated."""
    return "ValidatingAdmissionPolicy" in answer.message or "policy 'sekisho" in answer.message
