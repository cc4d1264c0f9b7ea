"""A control plane with everything a service needs, and the two operators that are compared on it."""

import json
import os
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from bench.operators.api import CHILDREN, KINDS, NOT_FOUND, Api, Object, RefusedError, path_of, spread
from bench.operators.manifests import (
    NODES,
    TEMPLATE_NAMESPACE,
    TEMPLATE_SERVICE,
    make_template,
    render_facts,
    render_heartbeat,
    render_namespace,
    render_node,
    render_service,
)
from bench.operators.process import OperatorProcess, TimedOutError, read_cpu_seconds, wait_for
from bench.operators.requests import SERVICES, Tail, first_good
from bench.operators.storage import ROOT, Storage, find_keys
from e2e.cluster import pki
from e2e.cluster.local import LocalCluster
from e2e.cluster.processes import ProcessId
from e2e.cluster.provider import Options
from e2e.ports import free_port

SideName = Literal["reference", "candidate"]
REPO: Final = Path(__file__).resolve().parents[2]
_HEARTBEAT_SECONDS: Final = 5.0
_START_SECONDS: Final = 120.0
_GONE_SECONDS: Final = 60.0
# Nothing is done in so many looks in succession, so far apart, where something rests.
_LOOKS: Final = 2
_LOOK_SECONDS: Final = 0.5
# Of one core, an operator and all processes of a control plane at most where nothing is asked of them.
_QUIET_SHARE: Final = 0.06
_REST_SHARE: Final = 0.2
# The control plane's programs would spend a fifth of their time on garbage, for memory that nobody needs.
_GARBAGE: Final = {"GOGC": "800", "GOMEMLIMIT": "6GiB"}
_CONTROL_PLANE: Final = ("apiserver", "etcd", "kcm", "scheduler", "forward")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: who it is, and by which write one sees that it is done with a service.

    Attributes:
        done_by: Resource of the write, as the audit log names it.
    """

    name: SideName
    user: str
    done_by: str


REFERENCE: Final = Side("reference", "bench-bare-kopf", SERVICES)
CANDIDATE: Final = Side("candidate", "bench-sekisho", f"{SERVICES}/status")
_DONE_VERBS: Final = frozenset({"patch", "update"})
_CREATE_VERBS: Final = frozenset({"create", "patch"})


class Lab:
    """The control plane and what is done on it. Use `open_lab`."""

    def __init__(self, cluster: LocalCluster, directory: Path) -> None:
        self.cluster = cluster
        self.api = Api(cluster.kubeconfig)
        self.tail = Tail(cluster.audit.file)
        self._directory = directory
        self._stop = threading.Event()
        self._templates = directory / "templates.json"
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def prepare(self) -> None:
        """Bring everything that stays: policy, site, nodes, users."""
        for manifest in (*render_facts(), *map(render_node, NODES)):
            self.api.create(manifest)
        self._beats.start()
        for side in (REFERENCE, CANDIDATE):
            self._issue(side)

    def close(self) -> None:
        """End the heartbeats and the connection."""
        self._stop.set()
        if self._beats.is_alive():
            self._beats.join()
        self.api.__exit__()

    @contextmanager
    def running(self, side: Side) -> Iterator[OperatorProcess]:
        """Start one of the two, give it once it watches and is at rest, and end it."""
        if side is REFERENCE and not self._templates.exists():
            self._learn_templates()
        self.tail.restart()
        with self.start(side) as process:
            self.await_ready(side, process)
            yield process

    def start(self, side: Side) -> OperatorProcess:
        """Start one of the two; it is not ready yet."""
        arguments = ["-m", "sekisho.controller.main"]
        if side is REFERENCE:
            arguments = ["-m", "bench.bare_kopf", str(self._templates)]
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._directory),
            "PYTHONPATH": f"{REPO / 'operator'}:{REPO}",
            "KUBECONFIG": str(self._kubeconfig(side)),
            "SEKISHO_AGENT_IMAGE": "sekisho.local/agent:1",
            "SEKISHO_API_HOST": "10.0.0.1",
            "SEKISHO_HEALTH_HOST": "127.0.0.1",
            "SEKISHO_HEALTH_PORT": str(free_port()),
            "SEKISHO_LEADER_ELECTION": "false",
        } | {key: value for key, value in os.environ.items() if key in {"SEKISHO_QPS", "SEKISHO_WORKERS"}}
        log = self._directory / f"{side.name}.log"
        process = OperatorProcess([sys.executable, *arguments], user=side.user, env=env, log=log)
        self._health = f"http://127.0.0.1:{env['SEKISHO_HEALTH_PORT']}/readyz"
        return process

    def await_ready(self, side: Side, process: OperatorProcess) -> None:
        """Return once it watches services and rests."""

        def is_ready() -> bool:
            process.cpu_seconds()
            self.tail.read()
            watches = any(
                entry.request.verb == "watch" and entry.request.resource == SERVICES
                for entry in self.tail.of(side.user)
            )
            return watches and (side is REFERENCE or _answers(self._health))

        try:
            wait_for(is_ready, seconds=_START_SECONDS, what=f"{side.name} watches")
        except TimedOutError as error:
            raise TimedOutError(f"{error}; its last words:\n{process.last_words()}") from error
        self.await_rest(side, process)

    def await_rest(
        self, side: Side, process: OperatorProcess, *, with_control_plane: bool = True, seconds: float = 180
    ) -> None:
        """Return once the operator asks for nothing, and neither it nor the control plane computes more than a little.

        Kubernetes' controllers go on for a while after a burst and after the end of a namespace; what they still do
        would be charged to whoever is measured next, and an operator may watch it.
        """
        quiet, known = 0, (-1, 0.0, 0.0)

        def rests() -> bool:
            nonlocal quiet, known
            self.tail.read()
            now = (len(self.tail.of(side.user)), process.cpu_seconds(), sum(self.cpu_seconds().values()))
            asked, computed, control = (later - earlier for later, earlier in zip(now, known, strict=True))
            known = now
            rested = not asked and computed <= _QUIET_SHARE * _LOOK_SECONDS
            if with_control_plane:
                rested = rested and control <= _REST_SHARE * _LOOK_SECONDS
            quiet = quiet + 1 if rested else 0
            return quiet >= _LOOKS

        wait_for(rests, seconds=seconds, pause=_LOOK_SECONDS, what=f"{side.name} and the control plane rest")

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time that each process of the control plane has used since it began."""
        found = {name: ProcessId.read(self.cluster.directory / "pid" / name) for name in _CONTROL_PLANE}
        return {name: read_cpu_seconds(identity.pid) for name, identity in found.items() if identity is not None}

    def create_services(self, namespace: str, names: Sequence[str], *, connections: int = 4) -> None:
        """Ask for services over a few connections at once."""
        manifests = [render_service(name, namespace) for name in names]
        spread(self.cluster.kubeconfig, lambda api, item: api.create(item), manifests, connections=connections)

    def await_done(self, side: Side, namespace: str, *, count: int, seconds: float) -> None:
        """Return once that many services of a namespace have all children and are marked done."""

        at, done, made = 0, set[tuple[str, str]](), set[tuple[str, str]]()

        def is_done() -> bool:
            nonlocal at
            self.tail.read()
            new, at = self.tail.entries[at:], len(self.tail.entries)
            ours = [item for item in new if item.request.user == side.user and item.request.namespace == namespace]
            done.update(first_good(ours, resource=side.done_by, verbs=_DONE_VERBS))
            made.update(first_good(ours, resource="deployments.apps", verbs=_CREATE_VERBS))
            return min(len(done), len(made)) >= count

        wait_for(is_done, seconds=seconds, pause=0.1, what=f"{side.name} is done with {count} services")

    def new_namespace(self) -> str:
        """Make a namespace that nothing has used yet."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        self.api.create(render_namespace(name))
        wait_for(lambda: self.api.find("ServiceAccount", "default", namespace=name), seconds=20, what="a namespace")
        return name

    def list_children(self, namespace: str) -> dict[str, list[Object]]:
        """Return the children of all services of a namespace, by kind."""
        return {
            kind: [child for child in self.api.list_all(kind, namespace=namespace) if _is_owned(child)]
            for kind in CHILDREN
        }

    def remove_namespaces(self, *namespaces: str) -> None:
        """Remove namespaces and all that is in them, while no operator runs, and wait until the API shows none of it.

        Storage is where they are taken from. First the namespaces themselves: where the API refuses to create
        anything in them, no controller makes anew what goes then.
        """
        storage, told = Storage(self.cluster.control_plane.netns), ", ".join(namespaces)
        storage.delete([f"{ROOT}namespaces/{namespace}" for namespace in namespaces])
        wait_for(lambda: all(map(self._refuses, namespaces)), seconds=_GONE_SECONDS, what=f"the end of {told}")
        addresses = [
            f"{ROOT}ipaddresses/{item['metadata']['name']}"
            for item in self.api.list_all("IPAddress")
            if item["spec"]["parentRef"].get("namespace") in namespaces
        ]
        kinds = [kind for kind, path in KINDS.items() if "{}" in path]

        def are_gone() -> bool:
            # What was asked for before the namespace ended may come after it.
            left = storage.delete([*find_keys(storage.list_keys(), namespaces), *addresses])
            return not left and not any(
                self.api.list_all(kind, namespace=namespace) for kind in kinds for namespace in namespaces
            )

        wait_for(are_gone, seconds=_GONE_SECONDS, pause=0.2, what=f"the end of what {told} held")

    def _refuses(self, namespace: str) -> bool:
        probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe", "namespace": namespace}}
        try:
            self.api.request("POST", f"{path_of('ConfigMap', namespace)}?dryRun=All", probe)
        except RefusedError as error:
            return error.status == NOT_FOUND
        return False

    def _issue(self, side: Side) -> None:
        directory = self.cluster.control_plane.pki
        pki.Authority(directory, "ca").issue(side.user, pki.Subject(side.user, ("system:masters",)))
        server = json.loads(self.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        self._kubeconfig(side).touch(mode=0o600)
        self._kubeconfig(side).write_text(pki.render_kubeconfig(directory, side.user, server))

    def _kubeconfig(self, side: Side) -> Path:
        return self._directory / f"{side.user}.kubeconfig"

    def _learn_templates(self) -> None:
        """Let the candidate make one service's children; the reference will make the same."""
        with self.running(CANDIDATE) as process:
            self.api.create(render_namespace(TEMPLATE_NAMESPACE))
            owner = self.api.create(render_service(TEMPLATE_SERVICE, TEMPLATE_NAMESPACE))
            self.await_done(CANDIDATE, TEMPLATE_NAMESPACE, count=1, seconds=60)
            self.await_rest(CANDIDATE, process)
            texts = []
            for kind in CHILDREN:
                child = self.api.find(kind, f"{TEMPLATE_SERVICE}-predictor", namespace=TEMPLATE_NAMESPACE) or {}
                api_version = child["apiVersion"]
                uid = owner["metadata"]["uid"]
                texts.append(make_template(child, kind=kind, api_version=api_version, owner_uid=uid))
        self._templates.write_text(json.dumps(texts), "utf-8")
        self.remove_namespaces(TEMPLATE_NAMESPACE)

    def _beat(self) -> None:
        with Api(self.cluster.kubeconfig) as api:
            while True:
                at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                for node in NODES:
                    # A beat that is late is made up for by the next.
                    with suppress(RefusedError, OSError):
                        api.patch("Node", node, render_heartbeat(at), subresource="status")
                if self._stop.wait(_HEARTBEAT_SECONDS):
                    return


@contextmanager
def open_lab() -> Iterator[Lab]:
    """Start a control plane of this process' own, and remove it."""
    name = f"bench-{uuid.uuid4().hex[:6]}"
    options = Options(name=name, control_plane_only=True, audit_level="all")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-bench-")))
        with _little_garbage():
            cluster = stack.enter_context(LocalCluster(options, definitions=REPO / "crds"))
        lab = Lab(cluster, directory)
        stack.callback(lab.close)
        lab.prepare()
        yield lab


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Have what starts within the block collect its garbage seldom, unless whoever runs this chose otherwise."""
    added = {name: value for name, value in _GARBAGE.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


class SharedLab:
    """A lab that is started when it is first needed, for benchmarks that may find their series recorded already."""

    def __init__(self) -> None:
        self._stack: ExitStack | None = None
        self._lab: Lab | None = None

    @contextmanager
    def block(self) -> Iterator[None]:
        """Whatever is started within the block ends with it."""
        with ExitStack() as stack:
            self._stack = stack
            try:
                yield
            finally:
                self._stack = self._lab = None

    def get(self) -> Lab:
        """Return the lab, started."""
        if self._stack is None:
            raise RuntimeError("the lab is used outside its block")
        if self._lab is None:
            self._lab = self._stack.enter_context(open_lab())
        return self._lab


def _is_owned(child: Object) -> bool:
    return any(owner.get("kind") == "InferenceService" for owner in child["metadata"].get("ownerReferences") or ())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
