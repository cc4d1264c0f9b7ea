"""Reads objects as kubectl would, without one: it costs a tenth of a second of a core, and tests look very often."""

import base64
import contextlib
import functools
import http.client
import json
import ssl
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

from e2e.cluster.errors import ClusterError

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the objects of a kind are."""

    kind: str
    api_version: str
    plural: str
    is_namespaced: bool

    def path(self, namespace: str) -> str:
        """Return the path of all objects of the kind; without a namespace those of `default`, as for kubectl."""
        base = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        return (
            f"{base}/namespaces/{namespace or 'default'}/{self.plural}"
            if self.is_namespaced
            else f"{base}/{self.plural}"
        )


class Reader:
    """An administrator's eyes on one cluster."""

    def __init__(self, kubeconfig: str) -> None:
        """Take the text of a kubeconfig that carries its certificates within."""
        config = yaml.safe_load(kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        server = urlsplit(cluster["server"])
        self._address = (server.hostname or "", server.port or 443)
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
            pair.flush()
            self._context.load_cert_chain(pair.name)
        self._resources: dict[str, Resource] = {}
        self._resting: list[http.client.HTTPSConnection] = []

    def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        """Return an object; None where there is none of the name.

        Args:
            kind: In any of the words that kubectl takes for it: `pod`, `pods`, `po`.
            name: Of the object.
            namespace: Where it is; not for kinds that are in none.

        Raises:
            ClusterError: The API does not answer, or refuses.
        """
        status, body = self._ask(f"{self._find(kind).path(namespace)}/{name}")
        if status == http.client.NOT_FOUND:
            return None
        return _without_managers(self._checked(status, body))

    def need(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any]:
        """Return an object that is there; see `get`.

        Raises:
            ClusterError: There is none of the name as well.
        """
        found = self.get(kind, name, namespace=namespace)
        if found is None:
            raise ClusterError(f"there is no {kind} {namespace}/{name}", remedy="see what the cluster holds")
        return found

    def list(self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind, by name; see `get`.

        Args:
            labels: A label selector.
            fields: A field selector.
        """
        resource = self._find(kind)
        words = {"labelSelector": labels, "fieldSelector": fields}
        query = urlencode({key: value for key, value in words.items() if value})
        items = self._checked(*self._ask(f"{resource.path(namespace)}?{query}"))["items"]
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [_without_managers({**head, **item}) for item in items]

    def watch(
        self, kind: str, name: str, *, namespace: str = "", seconds: int
    ) -> Generator[dict[str, Any], None, None]:
        """Yield an object as it is and then as it becomes, for so long or until the API ends it; see `need`."""
        found = self.need(kind, name, namespace=namespace)
        yield found
        query = urlencode({
            "watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(seconds),
            "resourceVersion": found["metadata"]["resourceVersion"],
        })  # fmt: skip
        path = f"{self._find(kind).path(namespace)}?{query}"
        with self._open("GET", path, headers={"Accept": "application/json"}) as response:
            if response.status != http.client.OK:
                self._body(response.status, response.read())
            with contextlib.suppress(OSError, http.client.HTTPException):  # ends early: whoever looks, looks again
                while line := response.readline():
                    event = json.loads(line)
                    if event["type"] in ("ADDED", "MODIFIED"):
                        yield _without_managers(event["object"])

    def log(self, pod: str, container: str, *, namespace: str) -> str:
        """Return what a container has written so far; see `get`."""
        query = urlencode({"container": container})
        status, body = self._ask(f"{self._find('pods').path(namespace)}/{pod}/log?{query}", accept="*/*")
        return self._body(status, body).decode()

    def _find(self, kind: str) -> Resource:
        if kind not in self._resources:  # a definition may have come meanwhile
            self._resources = self._discover()
        if kind not in self._resources:
            raise ClusterError(f"the API serves no {kind}", remedy="apply its definition first")
        return self._resources[kind]

    def _discover(self) -> dict[str, Resource]:
        found: dict[str, Resource] = {}
        for root in ("/api", "/apis"):
            for group in self._checked(*self._ask(root, accept=DISCOVERY))["items"]:
                name, versions = group["metadata"].get("name", ""), group["versions"][:1]  # the preferred one is first
                for version in versions:
                    api_version = f"{name}/{version['version']}" if name else version["version"]
                    for item in version["resources"]:
                        resource = Resource(
                            item["responseKind"]["kind"], api_version, item["resource"], item["scope"] == "Namespaced"
                        )
                        for word in (item["resource"], item["singularResource"], *item.get("shortNames", ())):
                            found.setdefault(word, resource)
        return found

    def _ask(self, path: str, *, accept: str = "application/json") -> tuple[int, bytes]:
        """Ask on a connection that rests, where one does: to meet the API anew is most of what a question costs."""
        with _told("GET", path):
            while self._resting:
                try:
                    return self._ask_on(self._resting.pop(), path, accept)
                except TimeoutError:
                    raise
                except (IndexError, OSError, http.client.HTTPException):
                    continue  # another took it, or the API ended it meanwhile
            return self._ask_on(self._connect(), path, accept)

    def _ask_on(self, connection: http.client.HTTPSConnection, path: str, accept: str) -> tuple[int, bytes]:
        with contextlib.ExitStack() as ending:
            ending.callback(connection.close)
            connection.request("GET", path, headers={"Accept": accept})
            with connection.getresponse() as response:
                answer = response.status, response.read()
            if not response.will_close:
                ending.pop_all()
                self._resting.append(connection)
        return answer

    def _exchange(
        self, method: str, path: str, *, headers: Mapping[str, str], body: str | None = None
    ) -> tuple[int, bytes]:
        with self._open(method, path, headers=headers, body=body) as response:
            return response.status, response.read()

    @contextlib.contextmanager
    def _open(
        self, method: str, path: str, *, headers: Mapping[str, str], body: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Say something once, on a connection of its own."""
        with _told(method, path), contextlib.closing(self._connect()) as connection:
            connection.request(method, path, body, headers=dict(headers))
            with connection.getresponse() as response:
                yield response

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self._address, context=self._context, timeout=SECONDS)

    def _checked(self, status: int, body: bytes) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._body(status, body))
        return found

    def _body(self, status: int, body: bytes) -> bytes:
        if status != http.client.OK:
            raise ClusterError(f"the API says {status}: {body[:500]!r}", remedy="read what it says")
        return body


@contextlib.contextmanager
def _told(method: str, path: str) -> Iterator[None]:
    """Tell in our words that there is no answer."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(
            f"the API does not answer {method} {path}: {error!r}", remedy="see whether it runs"
        ) from error


def reader_of(kubeconfig: Path) -> Reader:
    """Return the reader of the cluster that a kubeconfig names now."""
    return _reader_of(kubeconfig.read_text())


_reader_of = functools.cache(Reader)


def _without_managers(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out who manages which field, as kubectl does: it is long, and changes without a change."""
    return {**found, "metadata": {key: value for key, value in found["metadata"].items() if key != "managedFields"}}
