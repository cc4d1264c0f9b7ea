"""Whose token a request carries: a pod's of ours, for the audience that was asked for, and not too often."""

import pytest

from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kube.bearer import Authenticator, RateLimit
from sekisho.kube.pods import PodIdentity, build_review, parse_review
from tests.unit.depot.parts import TOKEN, SimulatedCluster, build_pod


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer ", "Bearer " + "x" * 20_000, "Bearer ü"])
async def test_a_request_without_a_plain_bearer_token_never_reaches_the_api_server(header: str) -> None:
    cluster = SimulatedCluster()
    with pytest.raises(RefusedError) as caught:
        await Authenticator(cluster).identify(header, peer="10.8.0.5")
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert cluster.reviews == 0


async def test_a_token_is_reviewed_once_in_thirty_seconds_but_the_pod_is_looked_at_each_time() -> None:
    cluster, now = SimulatedCluster(), [0.0]
    cluster.add_pod(build_pod(), TOKEN)
    authenticator = Authenticator(cluster, clock=lambda: now[0])
    for _ in range(5):
        await authenticator.identify(f"Bearer {TOKEN}", peer="a")
    assert cluster.reviews == 1
    now[0] = 31
    await authenticator.identify(f"Bearer {TOKEN}", peer="a")
    assert cluster.reviews == 2
    cluster.pods.clear()
    with pytest.raises(RefusedError, match="does not exist or is ending"):
        await authenticator.identify(f"Bearer {TOKEN}", peer="a")


async def test_strangers_cannot_make_us_flood_the_api_server() -> None:
    cluster = SimulatedCluster()
    authenticator = Authenticator(cluster, clock=lambda: 0.0)
    reasons = []
    for number in range(300):
        with pytest.raises(SekishoError) as caught:
            await authenticator.identify(f"Bearer made-up-{number}", peer="10.8.0.9")
        reasons.append(caught.value.reason)
    assert cluster.reviews == 200
    assert reasons[-1] is Reason.DEPOT_OVERLOADED


def test_a_rate_limit_fills_again_with_time() -> None:
    now = [0.0]
    limit = RateLimit(per_second=2, burst=2, reason=Reason.OVERLOADED, clock=lambda: now[0])
    limit.check("a")
    limit.check("a")
    with pytest.raises(UnavailableError, match="more than 2 requests per second") as caught:
        limit.check("a")
    assert caught.value.reason is Reason.OVERLOADED
    limit.check("b")
    now[0] = 1.0
    limit.check("a")


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"authenticated": True, "audiences": ["sekisho-gateway"]},
        {"authenticated": False, "audiences": ["sekisho-depot"]},
        {"authenticated": True, "audiences": ["sekisho-depot"], "user": {"username": "admin"}},
        {"authenticated": True, "audiences": ["sekisho-depot"], "user": {"username": "system:serviceaccount:a:b"}},
    ],
)
def test_a_review_that_names_no_pod_names_nobody(status: dict[str, object]) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_review({"status": status}, audience="sekisho-depot")
    assert caught.value.reason is Reason.UNAUTHENTICATED


def test_a_token_for_another_audience_is_none() -> None:
    user = {
        "username": "system:serviceaccount:team-a:chat-predictor",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["chat-0"],
            "authentication.kubernetes.io/pod-uid": ["uid-0"],
        },
    }
    status = {"authenticated": True, "audiences": ["sekisho-depot"], "user": user}
    assert parse_review({"status": status}, audience="sekisho-depot") == PodIdentity(
        "team-a", "chat-predictor", "chat-0", "uid-0"
    )
    with pytest.raises(RefusedError, match="not valid for audience sekisho-broker") as caught:
        parse_review({"status": status}, audience="sekisho-broker")
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert build_review("t", audience="sekisho-broker")["spec"] == {"token": "t", "audiences": ["sekisho-broker"]}
