"""The whole broker, over TLS, asked by a guest as its own client asks: a cookie jar, and nothing kept by hand."""

import json
import ssl
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from opentelemetry.metrics import NoOpMeter

from sekisho.broker.process import Surface, run_broker
from sekisho.broker.settings import BrokerSettings
from tests.unit.broker.parts import DATA_KEY, START, Agent
from tests.unit.broker.test_kbs import Pods
from tests.unit.broker.test_kbs_release import AUTH, GuestWorld
from tests.unit.broker.test_process import SimulatedRules
from tests.unit.depot.parts import build_keys
from tests.unit.recording.reading import read_record


async def test_a_guest_gets_its_key_from_the_whole_broker(tmp_path: Path) -> None:
    guest, keys = GuestWorld(), build_keys(tmp_path / "tls", "127.0.0.1")
    resources = tmp_path / "resources"
    resources.mkdir()
    question = Agent(guest.world).build_question()
    document = {"uri": "kbs:///default/key/reviewer", "question": question}
    (resources / "reviewer.json").write_text(json.dumps(document))
    settings = BrokerSettings(
        bind="127.0.0.1", https_port=0, health_port=0, tls_dir=tmp_path / "tls", record_dir=tmp_path / "record",
        collateral_dir=tmp_path / "collateral", resource_dir=resources, kbs=True,
    )  # fmt: skip
    surface = Surface(
        guest.world.cluster, SimulatedRules(guest.world), guest.world.vault.open, guest.take, Pods(guest)
    )  # fmt: skip
    guest.world.clock.seconds = (datetime.now(UTC) - START).total_seconds()
    context = ssl.create_default_context(cafile=str(keys.ca))
    async with run_broker(settings, surface, meter=NoOpMeter("broker")) as running:
        base = f"https://127.0.0.1:{running.https_port}/kbs/v0"
        jar = aiohttp.CookieJar(unsafe=True)  # the address is no name
        async with aiohttp.ClientSession(cookie_jar=jar, connector=aiohttp.TCPConnector(ssl=context)) as client:
            async with client.post(f"{base}/auth", json=AUTH) as response:
                nonce = (await response.json())["nonce"]
            async with client.post(f"{base}/attest", data=guest.answer(nonce)) as response:
                assert response.status == 200
            async with client.get(f"{base}/resource/default/key/reviewer") as response:
                assert guest.guest.open(await response.json()) == DATA_KEY
            async with client.get(f"{base}/resource/default/key/other") as response:
                assert response.status == 404
            async with client.post(f"https://127.0.0.1:{running.https_port}/v1/challenge", data=b"{}") as response:
                assert response.status == 401
    entries = read_record(tmp_path / "record")
    assert [entry["kind"] for entry in entries] == ["opened", "kbs-release", "kbs-release-end"]
    assert DATA_KEY.hex() not in json.dumps(entries)
