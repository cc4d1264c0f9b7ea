"""Writes objects as kubectl would, without one; see `reading`."""

import functools
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from e2e.cluster.errors import ClusterError
from e2e.cluster.patience import PATIENCE_SECONDS
from e2e.cluster.processes import poll
from e2e.cluster.reading import Reader

WORDS = {"fieldManager": "tests", "fieldValidation": "Strict"}
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Writer(Reader):
    """An administrator's hands on one cluster, and eyes."""

    def apply(self, manifest: Mapping[str, Any]) -> None:
        """Make an object as a manifest says, by server-side apply: what an earlier one said and this one does not goes.

        Raises:
            ClusterError: The API does not answer, or refuses.
        """
        meta = manifest["metadata"]
        path = f"{self._find(manifest['kind'].lower()).path(meta.get('namespace', ''))}/{meta['name']}"
        self._send("PATCH", f"{path}?{urlencode({**WORDS, 'force': 'true'})}", manifest, content_type=APPLY)

    def patch(
        self, kind: str, name: str, body: object, *, namespace: str = "", subresource: str = "", how: str = MERGE
    ) -> None:
        """Change an object in part; see `apply`.

        Args:
            kind: See `Reader.get`.
            name: Of the object.
            body: The patch.
            namespace: Where the object is; not for kinds that are in none.
            subresource: The part that is changed, as `status`; of the whole object without one.
            how: The kind of the patch.
        """
        path = f"{self._find(kind).path(namespace)}/{name}" + (f"/{subresource}" if subresource else "")
        self._send("PATCH", f"{path}?{urlencode(WORDS)}", body, content_type=how)

    def delete(self, kind: str, name: str, *, namespace: str = "", wait: bool = True) -> None:
        """Delete an object, and return once it is gone; what it owns goes later, by the garbage collector.

        Args:
            kind: See `Reader.get`.
            name: Of the object; that there is none is no error.
            namespace: Where it is; not for kinds that are in none.
            wait: Whether to wait for its end, which may need others.
        """
        found = self.get(kind, name, namespace=namespace)
        if found is None:
            return
        uid = found["metadata"]["uid"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        self._send("DELETE", f"{self._find(kind).path(namespace)}/{name}", body, missing_is_fine=True)

        def is_gone() -> bool:
            left = self.get(kind, name, namespace=namespace)
            return left is None or left["metadata"]["uid"] != uid

        if wait and not poll(is_gone, seconds=PATIENCE_SECONDS, interval=0.05):
            raise ClusterError(f"{kind} {name} is still there after {PATIENCE_SECONDS} s", remedy="see who holds it")

    def delete_all(self, kind: str, *, namespace: str, labels: str = "", grace_seconds: int | None = None) -> None:
        """Delete all objects of a kind in a namespace, and wait for nothing.

        Args:
            kind: See `Reader.get`.
            namespace: Where they are.
            labels: Selector of those that are meant.
            grace_seconds: How long they are given to end; 0 removes pods whether their node knows or not.
        """
        body: dict[str, object] = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        chosen = f"?{urlencode({'labelSelector': labels})}" if labels else ""
        self._send("DELETE", self._find(kind).path(namespace) + chosen, body)

    def make_token(self, account: str, *, namespace: str, audience: str) -> str:
        """Have a token of a ServiceAccount made, for one audience."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience]}}
        answer = self._send("POST", f"{self._find('serviceaccounts').path(namespace)}/{account}/token", body)
        token: str = json.loads(answer)["status"]["token"]
        return token

    def _send(
        self, method: str, path: str, body: object, *, content_type: str = "application/json",
        missing_is_fine: bool = False,
    ) -> bytes:  # fmt: skip
        headers = {"Content-Type": content_type}
        status, answer = self._exchange(method, path, headers=headers, body=json.dumps(body))
        if status >= http.client.MULTIPLE_CHOICES and not (missing_is_fine and status == http.client.NOT_FOUND):
            raise ClusterError(f"the API says {status}: {answer[:500]!r}", remedy="read what it says")
        return answer


def writer_of(kubeconfig: Path) -> Writer:
    """Return the writer to the cluster that a kubeconfig names now."""
    return _writer_of(kubeconfig.read_text())


_writer_of = functools.cache(Writer)
