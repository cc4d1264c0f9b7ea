"""Times as the API server writes them, RFC 3339. Pure."""

from datetime import UTC, datetime
from typing import Any, Final

# Clocks of two machines differ by less; a time further ahead would count for as long as it lies ahead.
MOST_AHEAD_SECONDS: Final = 300.0


def format_time(at: float) -> str:
    """Spell Unix seconds as the API server does."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(value: Any) -> float | None:
    """Parse a time of the API server into Unix seconds; None for anything else."""
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return parsed.timestamp() if parsed.tzinfo is not None else None


def parse_time_or_zero(value: Any) -> float:
    """Parse a time of the API server into Unix seconds; 0, which is long ago, for anything else."""
    return parse_time(value) or 0.0


def believe_past(at: float | None, *, now_at: float) -> float | None:
    """Return a time at which somebody says that something was, as far as it can be so: never later than now."""
    if at is None or at > now_at + MOST_AHEAD_SECONDS:
        return None
    return min(at, now_at)
