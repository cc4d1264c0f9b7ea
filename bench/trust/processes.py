"""The API server's stand-in and the trust controller, each a process of its own (`WHAT FILE`)."""

import asyncio
import json
import sys
from pathlib import Path

from opentelemetry.metrics import NoOpMeter

from sekisho.kube.client import ClientLimits, KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.trust.process import run_trust
from sekisho.trust.settings import TrustSettings
from tests.simulators.nodes_api import ApiServer


def main(what: str, file: Path) -> None:
    """Run until standard input ends; the first line of standard output says where."""
    asyncio.run({"api": serve_api, "trust": serve_trust}[what](json.loads(file.read_text())))


async def serve_api(world: dict[str, object]) -> None:
    """Serve nodes whose keys are enrolled already, and tokens of their attesters."""
    async with ApiServer().serve() as api:
        nodes = world["nodes"]
        assert isinstance(nodes, dict)
        for name, ak_name in nodes.items():
            api.add_node(name, ak_name=ak_name)
            api.tokens[f"token-{name}"] = {
                "namespace": "sekisho-system", "account": "sekisho-attester", "node": name, "audience": "sekisho-trust",
            }  # fmt: skip
        api.put("evidencepolicies", world["policy"])  # type: ignore[arg-type]
        await _until_closed(api.url)


async def serve_trust(how: dict[str, str]) -> None:
    """Serve attesters."""
    settings = TrustSettings(
        "nodes", collateral_dir=Path(how["collateral"]), tls_dir=Path(how["tls"]), host="127.0.0.1", https_port=0,
        health_port=0,
    )  # fmt: skip
    limits = ClientLimits(qps=settings.qps, burst=2 * settings.qps, connections=64)
    async with (
        KubeClient(Credentials(how["api"]), process="bench", limits=limits) as client,
        run_trust(settings, client, leads=lambda: True, meter=NoOpMeter("bench")) as running,
    ):
        while not (running.policy.is_there and running.nodes.all()):
            await asyncio.sleep(0.05)
        await _until_closed(str(running.https_port))


async def _until_closed(where: str) -> None:
    print(where, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
