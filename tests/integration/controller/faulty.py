"""Entry point of tests: the controller, killed at its N-th write, just before or just after it is sent.

SEKISHO_TEST_KILL_AT is N, from 1; SEKISHO_TEST_KILL is "before" or "after". Writes of the certificates are not counted.
"""

import os
import signal
from collections.abc import Mapping
from typing import Any

from sekisho.controller import main
from sekisho.kube.client import KubeClient, Object
from sekisho.kube.resources import Resource

KILL_AT = int(os.environ["SEKISHO_TEST_KILL_AT"])
KILL_AFTER = os.environ["SEKISHO_TEST_KILL"] == "after"


class FaultyClient(KubeClient):
    writes = 0

    def _begin(self) -> None:
        FaultyClient.writes += 1
        if not KILL_AFTER:
            self._end()

    def _end(self) -> None:
        if FaultyClient.writes >= KILL_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    async def apply(self, manifest: Mapping[str, Any], *, subresource: str = "", force: bool = True) -> Object:
        self._begin()
        stored = await super().apply(manifest, subresource=subresource, force=force)
        self._end()
        return stored

    async def create(self, manifest: Mapping[str, Any]) -> Object:
        self._begin()
        stored = await super().create(manifest)
        self._end()
        return stored

    async def patch(self, resource: Resource, name: str, body: Any, **where: Any) -> Object:
        self._begin()
        stored = await super().patch(resource, name, body, **where)
        self._end()
        return stored

    async def delete(self, resource: Resource, name: str, *, namespace: str = "", uid: str) -> bool:
        self._begin()
        done = await super().delete(resource, name, namespace=namespace, uid=uid)
        self._end()
        return done


main.KubeClient = FaultyClient  # type: ignore[misc]

if __name__ == "__main__":
    main.main()
