import aiohttp
import pytest

from sekisho.kube.probes import Readiness, build_health, serve_health


@pytest.mark.parametrize(
    ("state", "live", "ready", "message"),
    [
        (Readiness(), 200, 503, "starting"),
        (Readiness(problem="", broken="the cache ended"), 503, 503, "the cache ended"),
        (Readiness(problem="no certificate"), 200, 503, "no certificate"),
        (Readiness(problem=""), 200, 200, ""),
    ],
)
async def test_only_what_is_broken_asks_for_a_restart_and_every_problem_for_no_traffic(
    state: Readiness, live: int, ready: int, message: str
) -> None:
    runner = await serve_health(build_health(state, metrics=lambda: b"up 1\n"), host="127.0.0.1", port=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        async with session.get("/healthz") as answer:
            assert answer.status == live
        async with session.get("/readyz") as answer:
            assert (answer.status, (await answer.json())["message"]) == (ready, message)
        async with session.get("/metrics") as answer:
            assert await answer.read() == b"up 1\n"
    await runner.cleanup()
