"""Start the broker."""

import logging
import os
import sys
from typing import Final

from sekisho.broker.cluster import KubeCluster
from sekisho.broker.kbs_peers import KubePods
from sekisho.broker.key_states import follow_key_states
from sekisho.broker.keys import ConfiguredServices
from sekisho.broker.knowledge import Knowledge
from sekisho.broker.process import Surface, run_broker
from sekisho.broker.settings import BrokerSettings
from sekisho.kernel import forbid_dumps
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import find_credentials
from sekisho.kube.serving import run_process, stop_on_signals
from sekisho.telemetry import setup_metrics

PROCESS: Final = "broker"
_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run the broker until SIGTERM; return the exit status."""
    forbid_dumps()
    return run_process(PROCESS, lambda: BrokerSettings.read(os.environ), _run, who="the broker")


async def _run(settings: BrokerSettings) -> None:
    stop = stop_on_signals()
    credentials = await find_credentials()
    async with KubeClient(credentials, process=PROCESS) as client:
        services = ConfiguredServices(os.environ)
        surface = Surface(
            KubeCluster(client), Knowledge(client, settings.freshness), services.open,
            pods=KubePods(client) if settings.kbs else None, beside=(lambda: follow_key_states(client, services.open),),
        )  # fmt: skip
        async with run_broker(settings, surface, meter=setup_metrics(PROCESS)) as running:
            _LOG.info("the broker serves", extra={"https_port": running.https_port})
            await stop.wait()
            _LOG.info("the broker ends")


if __name__ == "__main__":
    sys.exit(main())
