"""A server's certificate follows its files: a pair as a whole, or the one before it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sekisho.kube.tls import ServedPair, ServerTls
from tests.unit.depot.parts import Keys, build_keys, settle


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def shake(port: int, name: str | None) -> bytes:
    """Shake hands, with a name or by the address alone; return the certificate."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name or "127.0.0.1")
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return bytes(found)


def der_of(keys: Keys) -> bytes:
    return ssl.PEM_cert_to_DER_cert(keys.certificate.read_text())


@pytest.mark.parametrize("name", ["depot.sekisho.svc", None], ids=["named", "by address"])
async def test_half_of_a_new_pair_changes_nothing_and_the_whole_one_is_served(tmp_path: Path, name: str | None) -> None:
    old, new = build_keys(tmp_path / "tls", "127.0.0.1"), build_keys(tmp_path / "new", "127.0.0.1")
    before, tls = der_of(old), ServerTls(tmp_path / "tls")
    assert tls.load()
    assert not tls.load()
    async with serving(tls.context) as port:
        assert await shake(port, name) == before
        old.certificate.write_bytes(new.certificate.read_bytes())
        with pytest.raises(ssl.SSLError):
            tls.load()
        assert await shake(port, name) == before
        old.key.write_bytes(new.key.read_bytes())
        assert tls.load()
        assert await shake(port, name) == der_of(new)


async def test_before_there_is_a_pair_nobody_is_served(tmp_path: Path) -> None:
    pair = ServedPair()
    async with serving(pair.context) as port:
        with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset, as it happens
            await shake(port, None)
    with pytest.raises(OSError, match="No such file"):
        pair.replace(tmp_path / "tls.crt", tmp_path / "tls.key")


@pytest.mark.parametrize("roots", ["", "no certificate"])
def test_roots_that_cannot_be_used_are_not_taken_for_none(roots: str) -> None:
    with pytest.raises((ValueError, OSError)):
        ServedPair(client_roots=roots)


async def test_files_are_followed_and_a_pair_that_does_not_fit_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = build_keys(tmp_path / "tls", "127.0.0.1"), build_keys(tmp_path / "new", "127.0.0.1")
    tls = ServerTls(tmp_path / "tls")
    tls.load()
    following = asyncio.create_task(tls.follow(seconds=0.01))
    try:
        async with serving(tls.context) as port:
            old.certificate.write_bytes(new.certificate.read_bytes())
            await settle(lambda: "the new certificate cannot be used" in caplog.messages)
            old.key.write_bytes(new.key.read_bytes())
            async with asyncio.timeout(60):
                while await shake(port, None) != der_of(new):
                    await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
