"""Work of one depot for all: begun with the lease, ended with it, begun again by whoever gets it next."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kube.lease import LeaderLease

_LOG: Final = logging.getLogger(__name__)
Jobs = Callable[[], Sequence[Coroutine[Any, Any, None]]]


async def lead(lease: LeaderLease, make_jobs: Jobs) -> None:
    """Contend for the lease again and again, and work while it is held.

    A write that was under way when the lease was lost may still arrive. It says what was true of a source a moment ago,
    by the same name for every depot, and the next leader compares it with what it sees.

    Args:
        lease: What is held.
        make_jobs: Makes what is to run, anew for each time the lease is held; a job that fails fails this.
    """
    while True:
        await lease.acquire()
        tasks = [asyncio.create_task(job) for job in (lease.hold(), *make_jobs())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await lease.release()
        for failure in results[1:]:
            if isinstance(failure, Exception):
                raise failure
        if isinstance(results[0], SekishoError):
            _LOG.warning("the lease is lost", extra={"detail": results[0].message})
