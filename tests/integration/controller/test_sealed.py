"""Sealed models: a real controller and a real depot over one API server, and a registry that is a file server."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.ports import free_port
from sekisho.seal.facts import MANIFEST_NAME, SIGNATURES_NAME
from sekisho.seal.manifest import ModelIdentity
from tests.integration.controller.conftest import POLICY, World, service
from tests.integration.controller.process import ControllerProcess, wait_for
from tests.unit.classify.policies import build_signers
from tests.unit.depot.artifacts import digest_of, push, sealed_blobs, uri_of
from tests.unit.depot.parts import FileServer, build_keys, serve_files
from tests.unit.plan.seals import approve

MODEL = "reviewer"
DEMANDS = {"sealed": True, "signedBy": ["release"], "scan": "Clean", "evaluated": ["safety"], "approvedBy": ["board"]}
KINDS = ("Sealed", "Signed", "Scanned", "Evaluated", "Approved", "Ready")


def policy(*signers: str, **weights: Any) -> dict[str, Any]:
    internal, confidential = POLICY["spec"]["levels"]
    strict = {**confidential, "rules": {**confidential["rules"], **({"weights": weights} if weights else {})}}
    spec = {**POLICY["spec"], "levels": [internal, strict], "signers": build_signers(*signers)}
    return {**POLICY, "spec": spec}


def identity(version: int = 7, data_class: str = "confidential") -> ModelIdentity:
    return ModelIdentity(name="legal/reviewer", version=version, data_class=data_class)


class House:
    """The registry, and what tests do to Models."""

    def __init__(self, world: World, server: FileServer) -> None:
        self.world = world
        self.server = server

    def push(self, blobs: dict[str, bytes], *, tag: str) -> str:
        push(self.server, blobs, tag=tag)
        return uri_of(self.server, tag=tag)

    def register(self, uri: str, *, name: str = MODEL, **spec: Any) -> None:
        base = {"owner": "team", "format": {"name": "gguf"}, "storageUri": uri, "size": "1Mi"}
        self.world.apply(
            {
                "apiVersion": POLICY["apiVersion"],
                "kind": "Model",
                "metadata": {"name": name, "namespace": self.world.namespace},
                "spec": {**base, **spec},
            }
        )

    def serve(self, **changes: Any) -> None:
        predictor = {"model": {"modelRef": {"name": MODEL}}}
        chat = service("chat", self.world.namespace, **changes)
        self.world.apply({**chat, "spec": {**chat["spec"], "predictor": predictor}})

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (self.world.get("model", MODEL) or {}).get("status") or {}
        return found

    def tells(self, kind: str) -> dict[str, Any]:
        return self.world.condition(MODEL, kind, of="model")

    def await_model(self, reason: str, kind: str = "Ready") -> dict[str, Any]:
        found: dict[str, Any] = wait_for(
            lambda: (c := self.tells(kind)) and c["reason"] == reason and c, what=f"{kind} {reason} of the model"
        )
        return found

    def await_service(self, reason: str, kind: str = "Accepted") -> dict[str, Any]:
        found: dict[str, Any] = wait_for(
            lambda: (c := self.world.condition("chat", kind)) and c["reason"] == reason and c,
            what=f"{kind} {reason} of the service",
        )
        return found

    def await_deployment(self) -> dict[str, Any]:
        found: dict[str, Any] = wait_for(lambda: self.world.children("chat").get("Deployment"), what="a Deployment")
        return found


@pytest.fixture
def house(world: World) -> Iterator[House]:
    world.apply(policy("release", "board", **DEMANDS))
    with serve_files(FileServer(), None) as server:
        yield House(world, server)
    world.hand.delete_all("models", namespace=world.namespace)
    world.delete("classificationpolicy", "default")
    world.apply(POLICY)


@pytest.fixture
def depot(
    house: House, new_controller: Callable[..., ControllerProcess], tmp_path: Path
) -> Iterator[ControllerProcess]:
    build_keys(tmp_path / "tls", "127.0.0.1")
    sources = tmp_path / "sources.json"
    sources.write_text(json.dumps([{"prefix": f"oci://{house.server.host}/", "plainHttp": True}]))
    env = {
        "SEKISHO_BIND": "127.0.0.1",
        "SEKISHO_TLS_DIR": str(tmp_path / "tls"),
        "SEKISHO_CACHE_DIR": str(tmp_path / "cache"),
        "SEKISHO_CACHE_SIZE": "64Mi",
        "SEKISHO_SOURCES_FILE": str(sources),
        "SEKISHO_HTTPS_PORT": str(free_port()),
        "SEKISHO_CANARY_PORT": str(free_port()),
    }
    with new_controller(module="sekisho.depot.main", env=env) as process:
        yield process


@pytest.fixture
def depots(
    house: House, new_controller: Callable[..., ControllerProcess], tmp_path: Path
) -> Callable[[str], ControllerProcess]:
    """Start a depot of one node of several."""
    build_keys(tmp_path / "tls", "127.0.0.1")
    (tmp_path / "sources.json").write_text(json.dumps([{"prefix": f"oci://{house.server.host}/", "plainHttp": True}]))

    def start(node: str) -> ControllerProcess:
        env = {
            "SEKISHO_BIND": "127.0.0.1",
            "SEKISHO_TLS_DIR": str(tmp_path / "tls"),
            "SEKISHO_CACHE_DIR": str(tmp_path / node),
            "SEKISHO_SOURCES_FILE": str(tmp_path / "sources.json"),
            "SEKISHO_HTTPS_PORT": str(free_port()),
            "SEKISHO_CANARY_PORT": str(free_port()),
            "SEKISHO_NODE": node,
            "SEKISHO_POD_NAME": f"depot-{node}",
        }
        return new_controller(module="sekisho.depot.main", env=env).start()

    return start


def holder(house: House) -> str:
    found = house.world.hand.get("lease", "sekisho-depot", namespace="sekisho-system") or {"spec": {}}
    return str(found["spec"].get("holderIdentity", "")).partition("_")[0]


@pytest.mark.usefixtures("controller")
def test_of_depots_on_several_nodes_one_inspects_and_another_goes_on_when_it_dies(
    house: House, depots: Callable[[str], ControllerProcess]
) -> None:
    processes = {node: depots(node) for node in ("a", "b")}
    blobs, approval = whole()
    house.register(house.push(blobs, tag="7"), approvals=[approval])
    house.await_model("Ready")
    wait_for(lambda: holder(house).removeprefix("depot-") in processes, what="one of the two that leads")
    leader = holder(house).removeprefix("depot-")
    other = next(node for node in processes if node != leader)
    processes[leader].kill()
    newer, newer_approval = whole(8)
    house.register(house.push(newer, tag="8"), approvals=[newer_approval])
    wait_for(lambda: house.status().get("acceptedVersion") == 8, what="an inspection by the other depot")
    assert holder(house) == f"depot-{other}"
    processes[other].kill()


Processes = tuple[ControllerProcess, ControllerProcess]


@pytest.fixture
def running(controller: ControllerProcess, depot: ControllerProcess) -> Processes:
    return controller, depot


def whole(version: int = 7) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return a model that lacks nothing, and the approval of its board."""
    blobs = sealed_blobs("release", identity=identity(version), shown=True)
    return blobs, approve(digest=digest_of(blobs[MANIFEST_NAME]))


@pytest.mark.usefixtures("controller")
def test_nothing_starts_before_a_depot_has_looked(house: House) -> None:
    blobs, approval = whole()
    house.register(house.push(blobs, tag="7"), approvals=[approval])  # nothing says yet of which class it is
    house.serve()
    assert "the depot has not inspected oci://" in house.await_service("WeightsPending")["message"]
    assert house.await_service("WeightsPending", "WeightsAvailable")["status"] == "Unknown"
    assert "see whether the depot runs" in house.await_model("WeightsPending")["message"]
    assert not house.world.runs("chat")


@pytest.mark.usefixtures("depot")
def test_a_model_that_shows_everything_is_ready_and_its_service_runs_in_memory(
    house: House, controller: ControllerProcess
) -> None:
    blobs, approval = whole()
    house.register(house.push(blobs, tag="7"), approvals=[approval])
    house.serve()  # whatever comes first, its first rendering is of what the depot found
    deployment = house.await_deployment()
    house.await_model("Ready")
    assert [house.tells(kind)["status"] for kind in KINDS] == ["True"] * len(KINDS)
    status = house.status()
    assert (status["acceptedVersion"], status["displayClass"]) == (7, "confidential")
    found = status["inspection"]
    assert (found["version"], found["signedBy"], found["kms"]) == (7, ["release"], "openbao")
    assert found["manifestDigest"] == digest_of(blobs[MANIFEST_NAME])
    volumes = {item["name"]: item for item in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["weights"]["emptyDir"]["medium"] == "Memory"
    columns = house.world.kubectl("get", "model", MODEL).splitlines()[1].split()
    assert columns[4:6] == ["True", "7"]
    controller.await_idle()
    before = house.world.get("model", MODEL)
    time.sleep(4)  # two processes write one status: neither takes anything from the other
    assert house.world.get("model", MODEL) == before


@pytest.mark.usefixtures("running")
def test_plain_weights_are_refused_where_sealed_ones_are_demanded_and_serve_elsewhere(house: House) -> None:
    house.register(house.push({"model.gguf": b"weights"}, tag="1"))
    house.serve()
    house.await_service("Accepted")
    assert house.await_model("NotSealed", "Sealed")["status"] == "False"
    assert house.tells("Ready")["status"] == "True"
    house.serve(classification={"level": "confidential"})
    told = house.await_service("SealedWeightsRequired")["message"]
    assert "class confidential demands weights.sealed: true; the weights of model reviewer are plain" in told
    wait_for(lambda: not house.world.runs("chat"), what="the end of the Deployment")


@pytest.mark.usefixtures("running")
def test_an_older_version_is_refused_and_what_ran_ends(house: House) -> None:
    blobs, approval = whole()
    house.register(house.push(blobs, tag="7"), approvals=[approval])
    house.serve()
    house.await_deployment()
    older, approval = whole(6)
    house.register(house.push(older, tag="6"), approvals=[approval])
    told = house.await_service("VersionRolledBack")["message"]
    assert "legal/reviewer version 6 is older than version 7, which was accepted before" in told
    assert house.status()["acceptedVersion"] == 7
    wait_for(lambda: not house.world.runs("chat"), what="the end of the Deployment")


@pytest.mark.usefixtures("running")
def test_an_older_version_is_refused_after_the_model_was_deleted_and_made_anew_and_in_a_second_model(
    house: House,
) -> None:
    blobs, approval = whole()
    house.register(house.push(blobs, tag="7"), approvals=[approval])
    house.await_model("Ready")
    assert house.status()["acceptedVersion"] == 7  # and it is remembered: a Model is not ready before it is
    house.world.delete("model", MODEL)
    older, older_approval = whole(6)
    uri = house.push(older, tag="6")
    house.register(uri, approvals=[older_approval])
    assert "version 6 is older than version 7" in house.await_model("VersionRolledBack")["message"]
    house.serve()
    house.await_service("VersionRolledBack")
    assert not house.world.runs("chat")
    house.register(house.push(blobs, tag="7"), approvals=[approval])
    house.await_model("Ready")
    house.register(uri, name="second", approvals=[older_approval])
    told = wait_for(
        lambda: (c := house.world.condition("second", "Ready", of="model")) and c["status"] == "False"
        and c["reason"] != "WeightsPending" and c,
        what="a word on the second model",
    )  # fmt: skip
    assert (told["reason"], "is older than version 7" in told["message"]) == ("VersionRolledBack", True)
    kept = house.world.hand.list("configmaps", namespace="sekisho-system", labels="sekisho.dev/versions=accepted")
    entries = [json.loads(text) for item in kept for text in item["data"].values()]
    mine = [entry for entry in entries if entry["namespace"] == house.world.namespace]
    assert mine == [{"model": "legal/reviewer", "namespace": house.world.namespace, "signer": "release", "version": 7}]


@pytest.mark.usefixtures("running")
def test_a_signer_that_is_trusted_no_more_ends_what_it_signed(house: House) -> None:
    blobs = sealed_blobs("release", identity=identity(data_class="internal"))
    house.register(house.push(blobs, tag="7"))
    house.serve()
    house.await_deployment()
    house.world.apply(policy("board"))
    told = house.await_service("SignerNotTrusted")["message"]
    assert "a signature by one of these is needed: board" in told
    assert house.await_model("SignerNotTrusted", "Signed")["status"] == "False"
    wait_for(lambda: not house.world.runs("chat"), what="the end of the Deployment")
    house.world.apply(policy("board", "release"))
    house.await_deployment()


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda blobs: {**blobs, "files/00002.sealed": bytes(len(blobs["files/00002.sealed"]))}, "SealBroken"),
        (lambda blobs: {key: data for key, data in blobs.items() if key != SIGNATURES_NAME}, "SignatureMissing"),
        (lambda blobs: {**blobs, "plain.bin": b"x"}, "NotSealed"),
    ],
    ids=["a file replaced", "no signature", "a plain file beside"],
)
def test_what_was_tampered_with_is_refused_in_every_class(
    house: House, spoil: Callable[[dict[str, bytes]], dict[str, bytes]], reason: str
) -> None:
    blobs = sealed_blobs("release", identity=identity(data_class="internal"))
    house.register(house.push(spoil(blobs), tag="7"))
    house.await_model(reason)
    house.serve()
    house.await_service(reason)
    assert not house.world.runs("chat")


@pytest.mark.usefixtures("running")
def test_an_approval_opens_what_waited_for_it_and_its_end_closes_it(house: House) -> None:
    blobs, approval = whole()
    uri = house.push(blobs, tag="7")
    house.register(uri)
    house.serve()
    assert "board did not approve legal/reviewer version 7" in house.await_service("ApprovalMissing")["message"]
    house.register(uri, approvals=[approval])
    house.await_deployment()
    house.register(uri, approvals=[])
    house.await_service("ApprovalMissing")
    wait_for(lambda: not house.world.runs("chat"), what="the end of the Deployment")


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("spec", [{}, {"classification": {"level": "confidential"}}], ids=["unlabelled", "demanding"])
def test_a_registry_that_does_not_answer_is_told_and_waited_for(house: House, spec: dict[str, Any]) -> None:
    blobs, approval = whole()
    uri = house.push(blobs, tag="7")
    house.server.status = 503
    house.register(uri, approvals=[approval], **spec)
    house.serve()
    assert "status 503" in house.await_service("SourceUnreachable")["message"]
    assert not house.world.condition("chat", "Stalled")
    assert not house.world.runs("chat")
    house.server.status = 0
    house.await_deployment()


def medium_of(deployment: dict[str, Any]) -> str:
    volumes = {item["name"]: item for item in deployment["spec"]["template"]["spec"]["volumes"]}
    return str(volumes["weights"]["emptyDir"].get("medium", ""))


@pytest.mark.usefixtures("running")
def test_what_runs_is_left_alone_until_another_source_was_read_and_then_replaced(house: House) -> None:
    house.register(house.push({"model.gguf": b"weights"}, tag="1"))
    house.serve()
    before = house.await_deployment()
    assert medium_of(before) == ""
    uri = house.push(sealed_blobs("release", identity=identity(data_class="internal")), tag="2")
    house.server.status = 503
    house.register(uri)
    house.await_service("SourceUnreachable")
    after = house.await_deployment()
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    house.server.status = 0
    wait_for(lambda: medium_of(house.await_deployment()) == "Memory", what="pods that unseal")


RELEASE = "sekisho-unsafe-development-release"


@pytest.fixture
def release(house: House) -> Iterator[Callable[[], None]]:
    """Install the Service of a release of keys; it is gone afterwards."""
    spec = {"ports": [{"port": 443, "targetPort": 8443}], "selector": {"app.kubernetes.io/component": "unsafe-release"}}
    metadata = {"name": RELEASE, "namespace": "sekisho-system"}
    yield lambda: house.world.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    house.world.hand.delete("service", RELEASE, namespace="sekisho-system")


@pytest.mark.usefixtures("depot")
def test_a_service_waits_for_a_release_of_keys_and_starts_once_there_is_one(
    house: House, new_controller: Callable[..., ControllerProcess], release: Callable[[], None]
) -> None:
    blobs, approval = whole()
    house.register(house.push(blobs, tag="7"), classification={"level": "confidential"}, approvals=[approval])
    house.serve()
    with new_controller(env={"SEKISHO_RELEASE_HOST": "", "SEKISHO_UNSAFE_DEVELOPMENT_RELEASE": "true"}):
        told = house.await_service("KmsUnavailable", "WeightsAvailable")["message"]
        assert "install a release of keys in namespace sekisho-system" in told
        assert not house.world.runs("chat")
        release()
        house.await_deployment()
        children = house.world.children("chat")
        assert "unsafe-release" in json.dumps(children["NetworkPolicy"]["spec"]["egress"])
        installed = house.world.hand.get("service", RELEASE, namespace="sekisho-system")
        assert installed is not None
        agent = json.loads(children["ConfigMap"]["data"]["agent.json"])
        assert agent["release"] == {
            "host": installed["spec"]["clusterIP"], "port": 443, "serverName": f"{RELEASE}.sekisho-system.svc",
            "protocol": "unsafe-development",
        }  # fmt: skip
        assert agent["weights"]["mode"] == "sealed"
        assert house.world.hand.get("secret", f"{RELEASE}-tls", namespace="sekisho-system") is not None
