"""Threads beside the event loop: they work on what waits, and wake the loop once for all that is done by then."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")
Done = tuple["asyncio.Future[Any]", Any, BaseException | None]


class _Telling:
    """Tells one event loop what came of its work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._done: list[Done] = []

    def tell(self, done: Done) -> None:
        """Tell soon; the loop is woken only where it does not know yet that there is something to be told."""
        with self._lock:
            self._done.append(done)
            first = len(self._done) == 1
        if first:
            with contextlib.suppress(RuntimeError):  # the loop may have ended
                self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for future, result, error in done:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Any]
    future: "asyncio.Future[Any]"
    telling: _Telling


class Threads:
    """A number of threads, begun when they are needed.

    An executor of the standard library does the same, at several times the cost of a short piece of work: it makes two
    futures for each, locks both, and wakes a thread and the event loop for each.

    Args:
        most: How many work at once.
        name: How they are called.
    """

    def __init__(self, most: int, *, name: str) -> None:
        self._most, self._name = most, name
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._idle = 0
        self._begun = 0
        self._closed = False
        self._telling: _Telling | None = None

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Return what some work comes to, or raise what it raises.

        Whoever stops waiting for it leaves it to itself; what nobody waits for any more is not begun.

        Raises:
            RuntimeError: They are closed, or the first of them cannot be begun now.
        """
        loop = asyncio.get_running_loop()
        if self._telling is None or self._telling.loop is not loop:
            self._telling = _Telling(loop)
        future: asyncio.Future[ResultT] = loop.create_future()
        with self._wake:
            if self._closed:
                raise RuntimeError(f"the threads {self._name} are closed")
            self._jobs.append(_Job(work, future, self._telling))
            # Who takes a job calls the next one: where work is short, one thread does all that came at once.
            if len(self._jobs) == 1:
                try:
                    self._call_one()
                except RuntimeError:
                    self._jobs.pop()
                    raise
        return await future

    def close(self) -> None:
        """End the threads, each once it is done with what it works on; what waits is cancelled."""
        with self._wake:
            self._closed = True
            while self._jobs:
                self._jobs.popleft().future.cancel()
            self._wake.notify_all()

    def _call_one(self) -> None:
        if self._idle:
            self._wake.notify()
        elif self._begun < self._most:
            thread = threading.Thread(target=self._work, name=f"{self._name}_{self._begun + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._begun:
                    raise
                return  # the process may have no more of them now; those that work take what waits
            self._begun += 1

    def _work(self) -> None:
        while (job := self._take()) is not None:
            if not job.future.cancelled():
                job.telling.tell(_do(job))
            # What a job holds may be secret: nothing of it is kept while the next is waited for.
            del job

    def _take(self) -> _Job | None:
        with self._wake:
            while not self._jobs and not self._closed:
                self._idle += 1
                self._wake.wait()
                self._idle -= 1
            if not self._jobs:
                return None
            job = self._jobs.popleft()
            if self._jobs:
                self._call_one()
            return job


def _do(job: _Job) -> Done:
    try:
        return job.future, job.work(), None
    except BaseException as error:  # noqa: BLE001  # whoever waits gets it
        return job.future, None, error
