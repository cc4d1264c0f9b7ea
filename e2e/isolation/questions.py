"""Questions to the depot from inside a model's pod."""

import json
from typing import Any

from e2e.isolation.scene import Pod, Scene

OWN = "own"
# Run in the agent's container, which alone may speak with the depot: GET a path with its own token, or with another.
ASK = """
import http.client, json, socket, ssl, sys
depot = json.load(open("/etc/sekisho/agent.json"))["depot"]
path, token = sys.argv[1], sys.stdin.read().strip()
if token == "own":
    token = open("/var/run/secrets/sekisho/token").read().strip()
context = ssl.create_default_context(cafile="/etc/sekisho/ca.crt")
connection = http.client.HTTPSConnection(depot["host"], depot["port"], timeout=60, context=context)
raw = socket.create_connection((depot["host"], depot["port"]), timeout=60)
connection.sock = context.wrap_socket(raw, server_hostname=depot["serverName"])
connection.request("GET", path, headers={"Authorization": "Bearer " + token} if token else {})
answer = connection.getresponse()
body = answer.read()
said = json.loads(body) if answer.headers["Content-Type"].startswith("application/json") else {"bytes": len(body)}
print(json.dumps({"status": answer.status, **said}))
"""


def ask(scene: Scene, pod: Pod, path: str, *, token: str = OWN) -> dict[str, Any]:
    """Ask the depot from inside a pod; return status and body."""
    metadata = pod["metadata"]
    run = ("exec", "-i", metadata["name"], "-n", metadata["namespace"], "-c", "agent", "--", "/usr/bin/python3.11")
    answer: dict[str, Any] = json.loads(scene.cluster.kubectl(*run, "-I", "-c", ASK, path, stdin=token))
    return answer
