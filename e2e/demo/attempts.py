"""Three attempts that must fail, each beside something of the same kind that works."""

import json
from collections.abc import Sequence

from e2e.cluster.errors import ClusterError
from e2e.cluster.namespaces import await_account
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.provider import Cluster
from e2e.demo import screen
from e2e.installation import ROOT, Installation, render_example

TOOLS_IMAGE = "sekisho.test/tools:1"
ELSEWHERE = """
apiVersion: v1
kind: Namespace
metadata: {name: elsewhere}
"""
INTRUDER = """
apiVersion: v1
kind: Pod
metadata: {name: intruder, namespace: elsewhere}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: tools, image: "%s", command: [sleep, "100000"]}]
"""
CONNECT = (
    "import socket, sys\n"
    "try:\n"
    "    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()\n"
    "except OSError as error:\n"
    "    sys.exit(f'{type(error).__name__}: {error}')\n"
    "print('connected')\n"
)


def attempt_all(installation: Installation) -> bool:
    """Make the three attempts; return whether every one failed and every control worked."""
    cluster = installation.cluster
    installation.apply(ELSEWHERE)
    await_account(cluster.kubeconfig, "elsewhere")
    installation.apply(INTRUDER % TOOLS_IMAGE)
    cluster.kubectl("wait", "pod/intruder", "-n", "elsewhere", "--for=condition=Ready", TIMEOUT)
    return all([_from_elsewhere(cluster), _to_the_outside(cluster), _to_the_cloud(installation)])


def _run(cluster: Cluster, arguments: Sequence[str]) -> tuple[bool, str]:
    try:
        return True, cluster.kubectl(*arguments).strip()
    except ClusterError as error:
        printed = error.problem.rpartition(" failed with ")[2].partition(": ")[2]
        said = [line for line in printed.splitlines() if not line.startswith("command terminated")]
        return False, said[-1][:160] if said else "no answer within 3 s"


def _from_elsewhere(cluster: Cluster) -> bool:
    screen.say("(a) A pod in another namespace calls the model directly.")
    target = "contract-review-predictor.legal.svc.cluster.local"
    arguments = ["exec", "-n", "elsewhere", "intruder", "--", "nc", "-w", "3"]
    screen.command(f"kubectl exec -n elsewhere intruder -- nc -w 3 {target} 8080")
    reached, text = _run(cluster, [*arguments, target, "8080"])
    control, _ = _run(cluster, [*arguments, "sekisho-gateway.sekisho-system.svc.cluster.local", "443"])
    return _judge(reached, text, control, "the same pod reaches the gateway's port")


def _to_the_outside(cluster: Cluster) -> bool:
    screen.say("(b) The model's pod calls an address outside.")
    outside = cluster.internet.address
    pods = json.loads(
        cluster.kubectl("get", "pods", "-n", "legal", "-l", "sekisho.dev/service=contract-review", "-o", "json")
    )
    pod = pods["items"][0]
    screen.command(
        f"kubectl exec -n legal {pod['metadata']['name']} -c engine -- python3.11 -c 'connect to {outside}:80'"
    )
    arguments = [
        "exec",
        "-n",
        "legal",
        pod["metadata"]["name"],
        "-c",
        "engine",
        "--",
        "/usr/bin/python3.11",
        "-c",
        CONNECT,
    ]
    reached, text = _run(cluster, [*arguments, outside, "80"])
    control, _ = _run(cluster, ["exec", "-n", "elsewhere", "intruder", "--", "nc", "-w", "3", outside, "80"])
    counts = cluster.internet.counts()
    intruder = cluster.kubectl("get", "pod", "intruder", "-n", "elsewhere", "-o", "jsonpath={.status.podIP}")
    mine, others = (
        sum(n for (source, _), n in counts.items() if source == address)
        for address in (pod["status"]["podIP"], intruder)
    )
    held = _judge(reached, text, control and others > 0, "the intruder's pod reaches the same address, and is counted")
    line = f"packets of the model's pod counted at {outside} since it was born, of any protocol: {mine}"
    (screen.good if mine == 0 else screen.bad)(line)
    return held and mine == 0


def _to_the_cloud(installation: Installation) -> bool:
    screen.say("(c) A manifest asks for a confidential model on a cloud site.")
    path = ROOT / "examples" / "quickstart" / "60-refused.yaml"
    screen.command("kubectl apply -f examples/quickstart/60-refused.yaml")
    screen.output(installation.apply(render_example(path, {})))
    condition = installation.wait_condition("review-in-the-cloud", "Placed", "False", namespace="legal")
    screen.stopped(f"Placed=False {condition['reason']}: {condition['message']}")
    pods = installation.cluster.kubectl(
        "get", "pods", "-n", "legal", "-l", "sekisho.dev/service=review-in-the-cloud", "-o", "name"
    )
    (screen.good if not pods.strip() else screen.bad)(f"pods made for it: {len(pods.split())}")
    return not pods.strip()


def _judge(reached: bool, text: str, control: bool, control_text: str) -> bool:
    if reached:
        screen.bad(f"it got through: {text}")
    else:
        screen.stopped(f"blocked: {text}")
    (screen.good if control else screen.bad)(f"control: {control_text}" + ("" if control else ", but could not"))
    return control and not reached
