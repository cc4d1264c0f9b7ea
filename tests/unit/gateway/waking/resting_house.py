"""A gateway in front of a model that sleeps, and what the operator would do about it, by hand."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.unit.gateway.house import House, build_house, build_pod, build_service

RESTING: dict[str, Any] = {"predictor": {"minReplicas": 0, "idleSeconds": 600}}


def build_resting(*, reason: str = "ScaledToZero", message: str = "", **how: Any) -> dict[str, Any]:
    """Build a service that may rest, as the operator leaves it: asleep, or starting for another reason."""
    service = build_service(spec=RESTING | how.pop("spec", {}), **how)
    told = {"message": message}
    service["status"]["conditions"] = [
        {"type": "Accepted", "status": "True", "reason": "Accepted"},
        {"type": "Placed", "status": "True", "reason": "Placed"},
        {"type": "Isolated", "status": "Unknown", "reason": "IsolationPending", **told},
        {"type": "Serving", "status": "False", "reason": reason, **told},
        {"type": "Ready", "status": "False", "reason": reason, **told},
    ]
    return service


def stand_up(house: House, **status: Any) -> None:
    """Have the model's pod serve, as it does some time after it was asked for."""
    service = build_service(spec=RESTING)
    service["status"] |= status
    house.api.put("pods", build_pod(service, port=house.engine.port))
    house.api.put("inferenceservices", service)


def demands(house: House) -> list[Mapping[str, Any]]:
    return [body["status"] for _, body in house.api.applied]


@asynccontextmanager
async def resting_house(folder: Path, **how: Any) -> AsyncIterator[House]:
    how.setdefault("service", build_resting())
    async with build_house(folder, has_pod=False, **how) as house:
        yield house
