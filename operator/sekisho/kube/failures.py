"""What can go wrong at the API server, in the product's own words."""

import contextlib
from collections.abc import Iterator

from sekisho.errors import Reason, RefusedError, UnavailableError

MAX_MESSAGE = 1024


class ApiUnavailableError(UnavailableError):
    """Fail for now: the API server is overloaded, failing or not reachable.

    Attributes:
        after_seconds: How long the server asks to wait, zero where it does not say.
    """

    def __init__(self, message: str, *, after_seconds: float = 0.0) -> None:
        super().__init__(Reason.API_UNAVAILABLE, message[:MAX_MESSAGE])
        self.after_seconds = after_seconds


class ApiTooLongError(ApiUnavailableError):
    """Fail because an answer is longer than this process reads; a part of what was asked for may be short enough."""


class ApiConflictError(UnavailableError):
    """Fail because the object is not the one, or not in the state, that the request was made for."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.API_UNAVAILABLE, message[:MAX_MESSAGE])


class ApiRefusedError(RefusedError):
    """Refuse with what the API server said: not allowed, invalid, quota, admission.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(Reason.APPLY_REFUSED, message[:MAX_MESSAGE])
        self.status = status


@contextlib.contextmanager
def own_trouble(who: str) -> Iterator[None]:
    """Turn what the API server refuses us into an outage of ours: it says nothing about the pod that asks.

    A chart that is being removed takes a process' rights before the process itself; no model may end for that.

    Args:
        who: How the message calls us, "the depot".
    """
    try:
        yield
    except ApiRefusedError as error:
        raise UnavailableError(Reason.API_UNAVAILABLE, f"{who} is refused by the API server: {error}") from error
