"""Asks models through the gateway, from outside the cluster, as an application would."""

import contextlib
import re
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.patience import PATIENCE_SECONDS
from e2e.cluster.provider import Cluster
from e2e.cluster.reading import reader_of
from e2e.cluster.writing import writer_of
from e2e.installation import NAMESPACE

SERVER_NAME = f"sekisho-gateway.{NAMESPACE}.svc"


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where the gateway listens on this machine, and whom its certificate must name."""

    port: int
    ca_file: Path

    @property
    def base_url(self) -> str:
        """The base URL; :func:`client` expects the name inside the cluster from the certificate."""
        return f"https://localhost:{self.port}/v1"


@contextlib.contextmanager
def gateway_open(cluster: Cluster) -> Iterator[GatewayAddress]:
    """Forward a local port to the gateway as `kubectl port-forward` does."""
    bundle = reader_of(cluster.kubeconfig).need("configmap", "sekisho-ca", namespace=NAMESPACE)
    command = cluster.tool_command("kubectl", "-n", NAMESPACE, "port-forward", "service/sekisho-gateway", ":443")
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.crt"
        ca_file.write_text(bundle["data"]["ca.crt"])
        forward = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert forward.stdout is not None
            line = forward.stdout.readline()
            match = re.search(r"127\.0\.0\.1:(\d+)", line)
            if match is None:
                raise RuntimeError(f"port-forward says: {line.strip()}")
            yield GatewayAddress(int(match.group(1)), ca_file)
        finally:
            forward.terminate()
            forward.wait(timeout=60)
            if forward.stdout is not None:
                forward.stdout.close()


def make_token(cluster: Cluster, *, namespace: str, account: str, audience: str = "sekisho-gateway") -> str:
    """Ask the API server for a token of a ServiceAccount."""
    return writer_of(cluster.kubeconfig).make_token(account, namespace=namespace, audience=audience)


def client(address: GatewayAddress, token: str) -> Any:
    """Return OpenAI's own client, pointed at the gateway."""
    import openai  # noqa: PLC0415 - it takes seconds, and every worker collects every test

    context = ssl.create_default_context(cafile=str(address.ca_file))
    http_client = openai.DefaultHttpxClient(verify=context, event_hooks={"request": [_expect_gateway]})
    return openai.OpenAI(
        base_url=address.base_url, api_key=token, http_client=http_client, max_retries=0, timeout=PATIENCE_SECONDS
    )


def _expect_gateway(request: Any) -> None:
    # The certificate is for the Service's name; the forwarded port is only another way to it.
    request.extensions = {**request.extensions, "sni_hostname": SERVER_NAME}


def ask(address: GatewayAddress, token: str, *, model: str, question: str) -> str:
    """Ask one question, streaming; return the answer, or the refusal as the client shows it."""
    import openai  # noqa: PLC0415 - it takes seconds, and every worker collects every test

    with client(address, token) as api:
        try:
            stream = api.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": question}],
                stream=True,
                temperature=0,
                max_tokens=64,
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        except openai.APIStatusError as refusal:
            return f"{refusal.status_code} {_explain(refusal)}"


def _explain(refusal: Any) -> str:
    body = refusal.body if isinstance(refusal.body, dict) else {}
    return f"{body.get('code', '')}: {body.get('message', refusal.message)}"
