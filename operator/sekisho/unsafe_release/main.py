"""Start the unsafe development release."""

import asyncio
import logging
import os
import signal
import sys
from typing import Final

from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import find_credentials
from sekisho.telemetry import setup_logging, setup_metrics, setup_traces
from sekisho.unsafe_release.process import run_release
from sekisho.unsafe_release.server import KubePods
from sekisho.unsafe_release.settings import ReleaseSettings, read_settings

PROCESS: Final = "unsafe-development-release"
_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run the release until SIGTERM; return the exit status."""
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
        _LOG.exception("the release of keys cannot start")
        return 1
    return 0


async def _run(settings: ReleaseSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    credentials = await find_credentials()
    async with (
        KubeClient(credentials, process=PROCESS) as client,
        run_release(settings, KubePods(client), meter=setup_metrics(PROCESS)) as running,
    ):
        _LOG.warning(
            "UNSAFE: data keys of development models are released without evidence; not for production",
            extra={"https_port": running.https_port},
        )
        await stop.wait()
        _LOG.info("the release of keys ends")


if __name__ == "__main__":
    sys.exit(main())
