"""A few requests to the API server over connections that stay open: kubectl would cost more than what is measured."""

import base64
import http.client
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

Object = dict[str, Any]
INFERENCE: Final = "/apis/inference.sekisho.dev/v1alpha1"
KINDS: Final[Mapping[str, str]] = {
    "NetworkPolicy": "/apis/networking.k8s.io/v1/{}networkpolicies",
    "ServiceAccount": "/api/v1/{}serviceaccounts",
    "ConfigMap": "/api/v1/{}configmaps",
    "Service": "/api/v1/{}services",
    "PodDisruptionBudget": "/apis/policy/v1/{}poddisruptionbudgets",
    "Deployment": "/apis/apps/v1/{}deployments",
    "ReplicaSet": "/apis/apps/v1/{}replicasets",
    "Pod": "/api/v1/{}pods",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/{}endpointslices",
    "Event": "/api/v1/{}events",
    "Namespace": "/api/v1/namespaces",
    "IPAddress": "/apis/networking.k8s.io/v1/ipaddresses",
    "Node": "/api/v1/nodes",
    "InferenceService": INFERENCE + "/{}inferenceservices",
    "ClassificationPolicy": INFERENCE + "/classificationpolicies",
    "Site": INFERENCE + "/sites",
    "Runtime": INFERENCE + "/runtimes",
}
CHILDREN: Final = ("NetworkPolicy", "ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "Deployment")
NOT_FOUND: Final = 404
PATCH_TYPES: Final = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}


class RefusedError(Exception):
    """The API server did not do what it was asked for."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"status {status}: {said}")
        self.status = status


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """Return the path of a collection or of one object."""
    collection = KINDS[kind].format(f"namespaces/{namespace}/" if namespace else "")
    return f"{collection}/{name}" if name else collection


@dataclass(frozen=True, slots=True)
class _Login:
    host: str
    port: int
    context: ssl.SSLContext


class Api:
    """One connection; use it in one thread at a time."""

    def __init__(self, kubeconfig: Path) -> None:
        self._login = _read_login(kubeconfig)
        self._connection = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: object = None, *, content_type: str = "application/json") -> Object:
        """Ask and return the answer.

        Raises:
            RefusedError: The status is none of success.
        """
        data = None if body is None else json.dumps(body)
        try:
            status, answer = self._exchange(method, path, data, content_type=content_type)
        except (http.client.HTTPException, OSError):
            # The server closes connections that rest; what had been sent on this one was never read.
            self._connection.close()
            self._connection = self._connect()
            status, answer = self._exchange(method, path, data, content_type=content_type)
        if status >= 300:
            raise RefusedError(status, answer[:500].decode(errors="replace"))
        parsed: Object = json.loads(answer)
        return parsed

    def create(self, manifest: Mapping[str, Any]) -> Object:
        """Create an object."""
        return self.request("POST", path_of(manifest["kind"], manifest["metadata"].get("namespace", "")), manifest)

    def find(self, kind: str, name: str, *, namespace: str = "") -> Object | None:
        """Read one object; None where there is none."""
        try:
            return self.request("GET", path_of(kind, namespace, name))
        except RefusedError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def list_all(self, kind: str, *, namespace: str = "") -> list[Object]:
        """Read a collection."""
        found: list[Object] = self.request("GET", path_of(kind, namespace))["items"]
        return found

    def patch(self, kind: str, name: str, body: object, *, namespace: str = "", subresource: str = "") -> Object:
        """Merge a mapping into an object, or do the operations of a list to it."""
        path = path_of(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        content_type = PATCH_TYPES["json" if isinstance(body, list) else "merge"]
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, kind: str, name: str, *, namespace: str = "") -> bool:
        """Delete an object; return False where there was none."""
        try:
            self.request("DELETE", path_of(kind, namespace, name))
        except RefusedError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True

    def _connect(self) -> http.client.HTTPSConnection:
        login = self._login
        return http.client.HTTPSConnection(login.host, login.port, context=login.context, timeout=60)

    def _exchange(self, method: str, path: str, data: str | None, *, content_type: str) -> tuple[int, bytes]:
        self._connection.request(method, path, data, {"Content-Type": content_type, "User-Agent": "bench"})
        response = self._connection.getresponse()
        return response.status, response.read()


def spread(kubeconfig: Path, work: Callable[[Api, Any], object], items: Iterable[Any], *, connections: int = 4) -> None:
    """Do the work for all items over a few connections at once; raises the first failure."""
    every, ended = list(items), threading.Event()

    def do(part: list[Any]) -> None:
        with Api(kubeconfig) as api:
            for item in part:
                if ended.is_set():
                    return
                work(api, item)

    with ThreadPoolExecutor(connections) as pool:
        try:
            list(pool.map(do, _deal(every, connections)))
        finally:
            ended.set()  # the pool waits for its threads, also where a signal or a failure ends the work


def _deal(items: list[Any], hands: int) -> Iterator[list[Any]]:
    return (items[index::hands] for index in range(hands))


def _read_login(kubeconfig: Path) -> _Login:
    config = json.loads(kubeconfig.read_text("utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pair:
        for part in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[part]) + b"\n")
        pair.flush()
        context.load_cert_chain(pair.name)
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    return _Login(host, int(port), context)
