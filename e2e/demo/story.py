"""The demo's steps, in the order in which they are told."""

import fcntl
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from e2e.calls import ask, gateway_open, make_token
from e2e.cluster.choose import new_cluster, new_registry
from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import make_run_dir
from e2e.cluster.progress import Timed
from e2e.cluster.provider import Cluster, NodeSpec, Options
from e2e.demo import screen
from e2e.demo.attempts import attempt_all
from e2e.demo.record import show_record
from e2e.installation import ROOT, Installation
from e2e.quickstart import RUNTIME, Quickstart

NAME = os.environ.get("SEKISHO_DEMO_NAME", "demo")
SITE = "sekisho.node-restriction.kubernetes.io/site"
TRUST = "sekisho.node-restriction.kubernetes.io/snp-attested-at"
QUESTION = "What is the capital of Japan? Answer in one sentence."
# A number that nobody has, with a check digit that holds.
ITEM = "マイナンバーは１２３４-５６７８-９０１８です。書類を見てください。"


def options() -> Options:
    """Two nodes: one of the closed site, with proven hardware, and one in a cloud."""
    closed = NodeSpec(labels={SITE: "tokyo", TRUST: str(int(time.time()))})
    cloud = NodeSpec(labels={SITE: "osaka"})
    return Options(name=NAME, nodes=(closed, cloud), keep=True)


class BusyError(ClusterError):
    """The demo is somebody else's just now."""


@contextmanager
def alone() -> Iterator[None]:
    """Refuse to begin while another process tells the demo: it would lose its cluster in the middle.

    Raises:
        BusyError: One does.
    """
    with (make_run_dir() / f".{NAME}.telling").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another `make demo` is at the cluster {NAME}",
                remedy="wait for its end, or tell one of your own: SEKISHO_DEMO_NAME=mine make demo",
            ) from None
        yield


def tell() -> int:
    """Run the whole demo; return 0 only if everything that should work did, and everything else was stopped."""
    with alone():
        return _tell()


def _tell() -> int:
    begin = time.monotonic()
    screen.title("1. A real Kubernetes cluster of two nodes")
    cluster = new_cluster(options(), report=Timed())
    if cluster.is_running():
        screen.say("A demo is running already; it is removed first.")
        cluster.stop()
    cluster.start()
    screen.output(cluster.kubectl("get", "nodes", "-L", SITE, "-L", TRUST))
    closed, cloud = (node.name for node in cluster.nodes)
    screen.say(
        f"Node {closed} stands for the closed network: its label says that its SEV-SNP evidence was verified. Here the "
        f"administrator sets that label; no node can set it for itself. Node {cloud} stands for a cluster in a cloud."
    )

    screen.title("2. sekisho, installed with Helm")
    registry = new_registry(cluster)
    registry.start()
    quickstart = Quickstart.on(cluster, registry)
    installation = quickstart.installation
    published: list[str] = []
    with ThreadPoolExecutor(max_workers=1) as beside:  # while Helm waits for pods
        publishing = beside.submit(quickstart.publish, "smollm2", report=published.append)
        installation.install(report=screen.good)
        publishing.result()
    screen.command("helm upgrade --install sekisho charts/sekisho -n sekisho-system --create-namespace")
    screen.output(cluster.kubectl("get", "pods", "-n", "sekisho-system"))

    screen.title("3. A policy, two sites, an engine, two services")
    for line in published:
        screen.good(line)
    _apply(installation, str(RUNTIME.relative_to(ROOT)), quickstart.runtime())
    for name, text in quickstart.manifests("[1-5]0-*.yaml"):
        _apply(installation, name, text)
    applied_at = time.monotonic()
    for namespace, name in (("legal", "contract-review"), ("web", "faq-bot")):
        installation.wait_condition(name, "Ready", "True", namespace=namespace)
    screen.command("kubectl get inferenceservices -A")
    screen.output(cluster.kubectl("get", "inferenceservices", "-A"))
    screen.good(f"both services are ready {time.monotonic() - applied_at:.1f} s after they were applied")
    for namespace, name in (("legal", "contract-review"), ("web", "faq-bot")):
        _explain(installation, namespace, name)

    screen.title("4. The engine answers, through the gateway")
    answered_at = _converse(cluster)
    screen.good(f"first answer {answered_at - begin:.1f} s after `make demo` began")

    screen.title("5. Three attempts that must fail")
    held = attempt_all(installation)

    screen.title("6. The record, verified without trusting us")
    recorded = show_record(cluster)

    screen.title("7. Next")
    _farewell(cluster)
    if not (held and recorded):
        screen.bad("something that must fail did not; see above")
        return 1
    return 0


def is_there() -> bool:
    """Tell whether anything of the demo's cluster is there, running or not."""
    return new_cluster(options()).kubeconfig.parent.exists()


def tear_down() -> int:
    """Remove the demo's cluster and everything it made."""
    cluster = new_cluster(options(), report=Timed())
    cluster.stop()
    print("the demo is gone")
    return 0


def _apply(installation: Installation, name: str, text: str) -> None:
    screen.command(f"kubectl apply -f {name}")
    screen.output(installation.apply(text))


def _explain(installation: Installation, namespace: str, name: str) -> None:
    status = installation.get("inferenceservice", name, namespace=namespace)["status"]
    placement = status["placement"]
    print()
    screen.say(f"{namespace}/{name} has class {status['class']['display']}, from:")
    for floor in status["class"].get("from", []):
        screen.say(f"  · {floor['source']}: {'+'.join([floor['level'], *floor.get('compartments', [])])}")
    screen.good(f"runs at {placement['site']}: {placement['because']}")
    for rejected in placement.get("rejected", []):
        screen.stopped(f"not at {rejected['site']}: {rejected['reason']}: {rejected['detail']}")
    conditions = {c["type"]: c for c in status["conditions"]}
    screen.good(f"Isolated: {conditions['Isolated']['message']}")


def _converse(cluster: Cluster) -> float:
    token = make_token(cluster, namespace="legal", account="reviewer")
    with gateway_open(cluster) as address:
        screen.command("python: OpenAI(base_url=…, api_key=<token of ServiceAccount legal/reviewer>)")
        screen.say(f"ask legal/contract-review: {QUESTION}")
        answer = ask(address, token, model="legal/contract-review", question=QUESTION)
        answered_at = time.monotonic()
        screen.good(f"answer: {answer.strip()}")
        refusal = ask(address, token, model="web/faq-bot", question=QUESTION)
        screen.stopped(f"the same caller asks web/faq-bot, which nobody allowed: {refusal}")
        screen.say(f"ask legal/contract-review: {ITEM}")
        screen.stopped(ask(address, token, model="legal/contract-review", question=ITEM))
    return answered_at


def _farewell(cluster: Cluster) -> None:
    screen.say("The cluster keeps running. Try:")
    for line in (
        f"export KUBECONFIG={cluster.kubeconfig}",
        "kubectl explain inferenceservice.spec",
        "kubectl get inferenceservice -n legal contract-review -o yaml",
        "kubectl describe classificationpolicy default",
        "kubectl get networkpolicy -A",
    ):
        screen.command(line)
    screen.say("Remove everything with:")
    screen.command("make demo-down")
