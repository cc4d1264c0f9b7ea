"""Entry point of tests: the controller, killed at its N-th write, just before or just after it is sent.

SEKISHO_TEST_KILL_AT is N, from 1; SEKISHO_TEST_KILL is "before" or "after". Writes of the certificates are not counted.
"""

import os
import signal
from collections.abc import Mapping
from typing import Any

from sekisho.controller import main as controller
from sekisho.kube.client import KubeClient, Object
from sekisho.kube.resources import Resource


class FaultyClient(KubeClient):
    writes = 0
    kill_at = 0
    kill_after = False

    def _begin(self) -> None:
        FaultyClient.writes += 1
        if not self.kill_after:
            self._end()

    def _end(self) -> None:
        if FaultyClient.writes >= self.kill_at:
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

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", uid: str, after_owned: bool = False
    ) -> bool:
        self._begin()
        done = await super().delete(resource, name, namespace=namespace, uid=uid, after_owned=after_owned)
        self._end()
        return done


def main() -> None:
    FaultyClient.kill_at = int(os.environ["SEKISHO_TEST_KILL_AT"])
    FaultyClient.kill_after = os.environ["SEKISHO_TEST_KILL"] == "after"
    controller.KubeClient = FaultyClient  # type: ignore[misc]
    controller.main()


if __name__ == "__main__":
    main()
