"""Start the depot."""

import asyncio
import logging
import os
import signal
import sys
from typing import Final

from sekisho.depot.cluster import KubeCluster
from sekisho.depot.process import run_depot
from sekisho.depot.register import KubeRegister
from sekisho.depot.settings import DepotSettings, read_settings
from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import find_credentials
from sekisho.telemetry import setup_logging, setup_metrics, setup_traces

PROCESS: Final = "depot"
_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run the depot until SIGTERM; return the exit status."""
    setup_logging(PROCESS)
    try:
        settings = read_settings(os.environ)
        setup_logging(PROCESS, level=settings.log_level)
        setup_traces(PROCESS)
        asyncio.run(_run(settings))
    except SekishoError as error:
        _LOG.error(error.message, extra={"reason": error.reason})
        return 1
    except OSError:
        _LOG.exception("the depot cannot start")
        return 1
    return 0


async def _run(settings: DepotSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    credentials = await find_credentials()
    async with (
        KubeClient(credentials, process=PROCESS) as client,
        run_depot(settings, KubeCluster(client), meter=setup_metrics(PROCESS), register=KubeRegister(client)) as depot,
    ):
        _LOG.info("the depot serves", extra={"https_port": depot.https_port, "canary_port": depot.canary.port})
        await stop.wait()
        _LOG.info("the depot ends")


if __name__ == "__main__":
    sys.exit(main())
