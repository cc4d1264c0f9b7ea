"""Who asks, where many ask whom nobody knows yet."""

import asyncio

import pytest

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.identity import Identity, IdentityLimits
from sekisho.kube.client import Credentials, KubeClient
from tests.unit.gateway.api_server import ApiServer

FEW = IdentityLimits(max_reviews=1, max_token_reviews=2, max_waiting_tokens=3)


async def test_strangers_take_no_turn_of_callers_who_are_known() -> None:
    async with ApiServer() as api, KubeClient(Credentials(server=api.url), process="test") as client:
        identity = Identity(client, FEW)
        known, late = (f"Bearer {api.token(name)}" for name in ("anna", "late"))
        caller = await identity.authenticate(known)
        api.grant("anna", "inferenceservices", "m", "team")
        api.held = asyncio.Event()
        waiting = [asyncio.create_task(identity.authenticate(f"Bearer {api.token(f'u{n}')}")) for n in range(3)]
        async with asyncio.timeout(60):
            while api.reviews.count("TokenReview") < 3:
                await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError, match="3 tokens that are not known yet wait") as refused:
            await identity.authenticate(late)
        assert refused.value.reason is Reason.OVERLOADED
        assert await identity.authenticate(known) == caller
        assert await identity.may_use(caller, "team", "m")
        assert api.reviews.count("TokenReview") == 3, "two strangers are asked about, the third waits"
        api.held.set()
        assert [found.username for found in await asyncio.gather(*waiting)] == ["u0", "u1", "u2"]
        assert (await identity.authenticate(late)).username == "late"


async def test_a_stranger_who_could_not_be_asked_about_takes_no_place() -> None:
    async with ApiServer() as api, KubeClient(Credentials(server=api.url), process="test") as client:
        identity = Identity(client, FEW)
        api.down = True
        for number in range(5):
            with pytest.raises(UnavailableError) as refused:
                await identity.authenticate(f"Bearer {api.token(f'u{number}')}")
            assert refused.value.reason is Reason.API_UNAVAILABLE
