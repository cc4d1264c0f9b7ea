"""Start the depot."""

import logging
import os
import sys
import uuid
from typing import Final

from sekisho.api.names import DEPOT_LEASE
from sekisho.depot.cluster import KubeCluster
from sekisho.depot.process import run_depot
from sekisho.depot.register import KubeRegister
from sekisho.depot.settings import DepotSettings, read_settings
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import find_credentials
from sekisho.kube.lease import LeaderLease
from sekisho.kube.serving import run_process, stop_on_signals
from sekisho.telemetry import setup_metrics

PROCESS: Final = "depot"
_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run the depot until SIGTERM; return the exit status."""
    return run_process(PROCESS, lambda: read_settings(os.environ), _run, who="the depot")


async def _run(settings: DepotSettings) -> None:
    stop = stop_on_signals()
    credentials = await find_credentials()
    async with (
        KubeClient(credentials, process=PROCESS) as client,
        run_depot(
            settings, KubeCluster(client), meter=setup_metrics(PROCESS), register=KubeRegister(client),
            lease=_make_lease(settings, client),
        ) as depot,
    ):  # fmt: skip
        _LOG.info("the depot serves", extra={"https_port": depot.https_port, "canary_port": depot.canary.port})
        await stop.wait()
        _LOG.info("the depot ends")


def _make_lease(settings: DepotSettings, client: KubeClient) -> LeaderLease | None:
    """Return what depots of several nodes contend for; a depot that serves all has nobody to contend with."""
    if not settings.node:
        return None
    identity = f"{settings.pod_name}_{uuid.uuid4()}"
    return LeaderLease(client, namespace=settings.namespace, name=DEPOT_LEASE, identity=identity)


if __name__ == "__main__":
    sys.exit(main())
