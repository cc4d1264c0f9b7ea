"""The API server over plain HTTPS, as an administrator or as anyone the administrator impersonates."""

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
CLUSTER_KINDS = {
    "Namespace", "ClassificationPolicy", "Site", "Runtime", "EvidencePolicy", "CustomResourceDefinition", "ClusterRole",
    "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "Node",
}  # fmt: skip
PLURALS = {
    "NetworkPolicy": "networkpolicies", "ClassificationPolicy": "classificationpolicies", "Ingress": "ingresses",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies", "Endpoints": "endpoints",
    "EvidencePolicy": "evidencepolicies", "KeyReleasePolicy": "keyreleasepolicies",
    "AccessPolicy": "accesspolicies",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said."""

    status: int
    body: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a request is made as."""

    user: str
    groups: tuple[str, ...] = ("system:authenticated",)

    @classmethod
    def service_account(cls, namespace: str, name: str) -> "Person":
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return cls(f"system:serviceaccount:{namespace}:{name}", groups)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Impersonate-User", self.user), *(("Impersonate-Group", group) for group in self.groups)]


class ApiServer:
    """One API server, by its administrator's kubeconfig."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._address = (host, port)
        self._context = context

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        person: Person | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        connection = http.client.HTTPSConnection(*self._address, context=self._context, timeout=60)
        try:
            connection.putrequest(method, path)
            connection.putheader("Accept", "application/json")
            for name, value in person.headers if person else ():
                connection.putheader(name, value)
            data = b"" if body is None else json.dumps(body).encode()
            connection.putheader("Content-Type", content_type)
            connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(text))
        except ValueError:
            return Answer(response.status, {"message": text.decode(errors="replace")})

    def create(self, manifest: Mapping[str, Any], *, person: Person | None = None, dry_run: bool = False) -> Answer:
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("POST", collection(manifest) + query, manifest, person=person)

    def apply(self, manifest: Mapping[str, Any], *, person: Person | None = None, manager: str = "test") -> Answer:
        path = f"{locate(manifest)}?fieldManager={manager}&force=true&fieldValidation=Strict"
        return self.request("PATCH", path, manifest, person=person, content_type=APPLY)

    def get(self, manifest: Mapping[str, Any]) -> Answer:
        return self.request("GET", locate(manifest))

    def delete(self, manifest: Mapping[str, Any], *, person: Person | None = None, dry_run: bool = False) -> Answer:
        return self.request("DELETE", locate(manifest) + ("?dryRun=All" if dry_run else ""), person=person)

    def must(self, answer: Answer) -> Answer:
        """Return the answer where it is a good one; what a test stands on must stand."""
        assert answer.ok, f"{answer.status}: {answer.message}"
        return answer


def collection(manifest: Mapping[str, Any]) -> str:
    """Return the path of the collection an object belongs to."""
    group = manifest["apiVersion"]
    kind = manifest["kind"]
    base = f"/apis/{group}" if "/" in group else f"/api/{group}"
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    if kind in CLUSTER_KINDS:
        return f"{base}/{plural}"
    return f"{base}/namespaces/{manifest['metadata']['namespace']}/{plural}"


def locate(manifest: Mapping[str, Any]) -> str:
    """Return the path of an object."""
    return f"{collection(manifest)}/{manifest['metadata']['name']}"


@contextmanager
def connect(kubeconfig: Path) -> Iterator[ApiServer]:
    """Reach the API server that a kubeconfig with client certificates names."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    address = urlsplit(cluster["server"])
    with tempfile.TemporaryDirectory() as folder:
        context = ssl.create_default_context(cafile=_file(Path(folder), cluster, "certificate-authority"))
        context.load_cert_chain(
            _file(Path(folder), user, "client-certificate"), _file(Path(folder), user, "client-key")
        )
        yield ApiServer(address.hostname or "", address.port or 443, context)


def _file(folder: Path, section: Mapping[str, str], key: str) -> str:
    if key in section:
        return section[key]
    path = folder / key
    path.write_bytes(base64.b64decode(section[f"{key}-data"]))
    return str(path)


def install_crds(server: ApiServer, folder: Path) -> None:
    """Apply every CRD of a folder and return once all of them are served."""
    definitions = [yaml.load(path.read_text(), Loader=yaml.CSafeLoader) for path in sorted(folder.glob("*.yaml"))]
    for definition in definitions:
        server.must(server.apply(definition))
    wait_until(lambda: all(_is_served(server.get(item).body) for item in definitions), what="CRDs to be served")


def _is_served(definition: Mapping[str, Any]) -> bool:
    status = definition.get("status") or {}
    conditions: Sequence[Mapping[str, str]] = status.get("conditions") or ()  # a fresh one says null
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


def wait_until(is_so: Callable[[], bool], *, what: str, seconds: float = 300) -> None:
    """Ask until it is so; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)
