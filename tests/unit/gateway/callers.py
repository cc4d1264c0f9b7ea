# ruff: noqa: PLC0415 - the clients take seconds to import, and every worker collects every test
"""The clients that callers use, pointed at a gateway."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from pydantic import SecretStr

from tests.unit.gateway.house import MODEL, House


def load_clients() -> None:
    """Import them all; nothing that counts seconds may wait for that."""
    import anthropic  # noqa: F401
    import langchain_openai  # noqa: F401
    import openai  # noqa: F401


@asynccontextmanager
async def open_openai(house: House) -> AsyncIterator[Any]:
    import openai

    http = openai.DefaultAsyncHttpxClient(verify=house.trust)
    async with openai.AsyncOpenAI(
        base_url=f"{house.url}/v1", api_key=house.token, max_retries=0, http_client=http
    ) as client:
        yield client


@asynccontextmanager
async def open_anthropic(house: House) -> AsyncIterator[Any]:
    import anthropic

    http = anthropic.DefaultAsyncHttpxClient(verify=house.trust)
    async with anthropic.AsyncAnthropic(
        base_url=house.url, api_key=house.token, auth_token=None, max_retries=0, http_client=http
    ) as client:
        yield client


@contextmanager
def open_openai_sync(house: House) -> Iterator[Any]:
    import openai

    http = openai.DefaultHttpxClient(verify=house.trust)
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.token, max_retries=0, http_client=http) as client:
        yield client


@contextmanager
def open_anthropic_sync(house: House) -> Iterator[Any]:
    import anthropic

    http = anthropic.DefaultHttpxClient(verify=house.trust)
    with anthropic.Anthropic(
        base_url=house.url, api_key=house.token, auth_token=None, max_retries=0, http_client=http
    ) as client:
        yield client


@asynccontextmanager
async def open_langchain(house: House, **how: Any) -> AsyncIterator[Callable[..., Any]]:
    """Yield what makes a LangChain object of a class that talks to the gateway."""
    async with httpx.AsyncClient(verify=house.trust) as http:
        with httpx.Client(verify=house.trust) as sync:

            def make(kind: type[Any], **more: Any) -> Any:
                return kind(
                    model=MODEL, base_url=f"{house.url}/v1", api_key=SecretStr(house.token), max_retries=0,
                    http_client=sync, http_async_client=http, **how, **more,
                )  # fmt: skip

            yield make
