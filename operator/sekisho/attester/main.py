"""Start the attester."""

import logging
import os
import sys
from typing import Final

from sekisho.attester.process import run_attester
from sekisho.attester.server import KubePods
from sekisho.attester.settings import AttesterSettings, read_settings
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import find_credentials
from sekisho.kube.serving import run_process, stop_on_signals
from sekisho.telemetry import setup_metrics

PROCESS: Final = "attester"
_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run the attester until SIGTERM; return the exit status."""
    return run_process(PROCESS, lambda: read_settings(os.environ), _run, who="the attester")


async def _run(settings: AttesterSettings) -> None:
    stop = stop_on_signals()
    credentials = await find_credentials()
    async with (
        KubeClient(credentials, process=PROCESS) as client,
        run_attester(settings, KubePods(client), meter=setup_metrics(PROCESS)) as running,
    ):
        _LOG.info("the attester serves", extra={"node": settings.node, "https_port": running.https_port})
        await stop.wait()
        _LOG.info("the attester ends")


if __name__ == "__main__":
    sys.exit(main())
