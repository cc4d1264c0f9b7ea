"""Start the unsafe development release."""

import logging
import os
import sys
from typing import Final

from sekisho.kernel import forbid_dumps
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import find_credentials
from sekisho.kube.serving import run_process, stop_on_signals
from sekisho.telemetry import setup_metrics
from sekisho.unsafe_release.process import run_release
from sekisho.unsafe_release.server import KubePods
from sekisho.unsafe_release.settings import ReleaseSettings, read_settings

PROCESS: Final = "unsafe-development-release"
_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run the release until SIGTERM; return the exit status."""
    forbid_dumps()
    return run_process(PROCESS, lambda: read_settings(os.environ), _run, who="the release of keys")


async def _run(settings: ReleaseSettings) -> None:
    stop = stop_on_signals()
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
