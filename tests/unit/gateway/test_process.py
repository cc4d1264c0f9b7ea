"""Settings, certificate and the process itself: it starts, says what is missing, and ends when asked."""

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import pytest
import uvloop

from sekisho.errors import Reason, RefusedError
from sekisho.gateway.main import run_on_loop
from sekisho.gateway.settings import Settings
from sekisho.gateway.tls import ServingCertificate
from tests.unit.gateway.api_server import ApiServer
from tests.unit.gateway.house import House, write_certificate


@pytest.mark.parametrize(
    ("name", "value"),
    [("SEKISHO_MAX_BODY", "two"), ("SEKISHO_HTTPS_PORT", "70000"), ("SEKISHO_MAX_REQUESTS", "0"),
     ("SEKISHO_FACTS_MAX_AGE_SECONDS", "1"), ("SEKISHO_LOG_LEVEL", "LOUD")],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        Settings.read({name: value})
    assert refusal.value.reason is Reason.INVALID_SPEC
    assert refusal.value.message.startswith(f"environment variable {name}: ")


def test_settings_are_read_from_the_environment() -> None:
    settings = Settings.read({"SEKISHO_MAX_BODY": "1Mi", "SEKISHO_RECORD_DIR": "/r", "OTHER": "x"})
    assert (settings.max_body, settings.record_dir) == (1 << 20, Path("/r"))
    assert settings.freshness.watch_seconds == 10


def test_the_process_has_the_event_loop_that_is_tested_here() -> None:
    async def find() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    found = run_on_loop(find())
    assert isinstance(found, uvloop.Loop)
    assert found.is_closed()


@pytest.mark.slow
async def test_a_new_certificate_is_served_without_a_restart_and_a_bad_one_is_not(house: House) -> None:
    async def subject() -> str:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = house.gateway.ports.https
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return str(der)

    before = await subject()
    (house.folder / "tls/tls.key").write_text("no key")
    certificate = ServingCertificate(house.folder / "tls")
    assert not certificate.load()
    assert await subject() == before
    write_certificate(house.folder / "tls", name="new")

    async def is_new() -> bool:
        return await subject() != before

    await house.settle(is_new, what="the new certificate")


def test_a_certificate_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    certificate = ServingCertificate(tmp_path)
    assert not certificate.load()
    assert not certificate.is_loaded
    write_certificate(tmp_path)
    assert certificate.load()
    assert not certificate.load()
    write_certificate(tmp_path, name="other")
    (tmp_path / "tls.key").write_text("no key")
    assert not certificate.load()
    assert certificate.is_loaded


@pytest.mark.slow
@pytest.mark.parametrize("with_certificate", [True, False])
async def test_the_process_starts_and_ends_when_asked(tmp_path: Path, with_certificate: bool) -> None:
    if with_certificate:
        write_certificate(tmp_path / "tls")
    async with ApiServer() as api:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
            f"clusters: [{{name: a, cluster: {{server: '{api.url}'}}}}]\n"
            "users: [{name: a, user: {token: secret}}]\n"
        )
        environ = {
            **os.environ, "KUBECONFIG": str(kubeconfig), "SEKISHO_BIND": "127.0.0.1", "SEKISHO_HTTPS_PORT": "0",
            "SEKISHO_HEALTH_PORT": "0", "SEKISHO_TLS_DIR": str(tmp_path / "tls"), "SEKISHO_DRAIN_DELAY_SECONDS": "0",
            "SEKISHO_RECORD_DIR": str(tmp_path / "record"), "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sekisho.gateway.main", env=environ, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        said = b""
        wanted = b"the gateway serves" if with_certificate else b"cannot be used"
        while wanted not in said:
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            assert line, said
            said += line
        process.send_signal(signal.SIGTERM)
        rest, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, (said + rest).decode()
        assert b"the gateway drains" in said + rest
        assert b"secret" not in said + rest
