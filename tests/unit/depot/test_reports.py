"""What a pod reports of unsealing, and what the depot says of a pod that unseals."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from sekisho.api.names import WEIGHTS_POD_CONDITION
from sekisho.attest.isolation import CanaryResult, IsolationProof, encode_proof
from sekisho.depot.cache import BlobCache
from sekisho.depot.canary import CanaryListener
from sekisho.depot.cluster import WeightsWish
from sekisho.depot.fetches import Fetches, StoredFile, WeightsSet
from sekisho.depot.proofs import ProofBook
from sekisho.depot.server import DepotApi
from sekisho.errors import Reason, RefusedError
from sekisho.kube.bearer import Authenticator
from tests.unit.depot.parts import NAMESPACE, SERVICE, TOKEN, SimulatedCluster, build_pod

REPORT = {"reason": "KmsUnavailable", "message": "the release of keys does not answer", "ready": False}
READY = {"reason": "WeightsAvailable", "message": "4 files", "ready": True}
CANARY = {"name": "outside", "host": "203.0.113.10", "port": 80, "protocols": ["tcp"]}
BLOCKED = CanaryResult("outside", "203.0.113.10", 80, "tcp", "blocked")
SET = WeightsSet(f"sha256:{'1' * 64}", 5 << 20, (StoredFile("sekisho.json", 5 << 20, f"sha256:{'2' * 64}"),))


class There:
    """Fetches that are done."""

    def admit(self, _uri: str, *, namespace: str) -> None:
        pass

    def ask(self, _wish: WeightsWish, *, namespace: str) -> WeightsSet:
        return SET


class Depot:
    """The depot's routes over plain HTTP, with a clock of the test's and weights that are there."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_800_000_000.0
        self.cluster = SimulatedCluster()
        self.cluster.add_pod(build_pod(), TOKEN)
        self.cluster.wishes[NAMESPACE, SERVICE] = WeightsWish("https://a.test/m/", None, 1 << 30)
        self.folder = folder
        self.set_mode("sealed")
        self.start()

    def start(self) -> None:
        """Begin as a new process does."""
        cache = BlobCache(self.folder, 1 << 30)
        clock = self.clock
        self.api = DepotApi(
            cluster=self.cluster, authenticator=Authenticator(self.cluster),
            proofs=ProofBook(self.cluster, CanaryListener("127.0.0.1", 0), 90.0, clock=clock),
            fetches=cast("Fetches", There()), cache=cache, most_bytes=1 << 30, clock=clock,
        )  # fmt: skip

    def clock(self) -> float:
        return self.now

    def set_mode(self, mode: str) -> None:
        self.cluster.configs[NAMESPACE, SERVICE] = {"canaries": [CANARY], "weights": {"mode": mode}}

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with TestClient(TestServer(self.api.build())) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with client.request(method, path, data=data, headers=headers) as answer:
                text = await answer.text()
                return answer.status, json.loads(text) if text else {}

    async def prove(self) -> None:
        proof = IsolationProof(at=self.now, results=(BLOCKED,))
        assert (await self.ask("POST", "/v1/proof", encode_proof(proof)))[0] == 204

    async def report(self, body: Any) -> tuple[int, dict[str, Any]]:
        return await self.ask("POST", "/v1/weights/report", body)

    @property
    def condition(self) -> Mapping[str, Any]:
        return self.cluster.condition(WEIGHTS_POD_CONDITION)


@pytest.fixture
async def depot(tmp_path: Path) -> Depot:
    depot = Depot(tmp_path)
    await depot.prove()
    return depot


async def test_of_ciphertext_the_depot_says_only_that_it_is_there(depot: Depot) -> None:
    status, body = await depot.ask("GET", "/v1/weights")
    assert (status, body["digest"]) == (200, SET.digest)
    assert (depot.condition["status"], depot.condition["reason"]) == ("False", "Fetching")
    assert depot.condition["message"] == "the ciphertext is in the depot (5 MiB); the pod unseals it"


async def test_what_a_pod_reports_becomes_its_condition_and_stands_while_it_tries_again(depot: Depot) -> None:
    counted: list[Reason] = []
    depot.api.reported = counted.append
    await depot.ask("GET", "/v1/weights")
    assert (await depot.report(REPORT))[0] == 204
    assert counted == [Reason.KMS_UNAVAILABLE]
    assert (depot.condition["status"], depot.condition["reason"]) == ("False", "KmsUnavailable")
    for _ in range(3):
        depot.now += 30
        await depot.prove()
        await depot.ask("GET", "/v1/weights")
        assert depot.condition["reason"] == "KmsUnavailable"
    assert (await depot.report(READY))[0] == 204
    assert (depot.condition["status"], depot.condition["message"]) == ("True", "4 files")
    await depot.ask("GET", "/v1/weights")
    assert depot.condition["status"] == "True"


@pytest.mark.parametrize("said", [REPORT, READY])
async def test_a_new_depot_leaves_what_the_pod_said(depot: Depot, said: dict[str, Any]) -> None:
    await depot.report(said)
    depot.start()
    await depot.prove()
    await depot.ask("GET", "/v1/weights")
    assert depot.condition["reason"] == said["reason"]
    writes = len(depot.cluster.writes)
    await depot.report(said)
    assert len(depot.cluster.writes) == writes or not said["ready"]
    assert depot.condition["reason"] == said["reason"]


async def test_progress_is_told_as_often_as_people_can_read(depot: Depot) -> None:
    for number in range(10):
        await depot.report({"reason": "Fetching", "message": f"{number} of 9 MiB are unsealed", "ready": False})
        depot.now += 1
    told = [item.message for _, item in depot.cluster.writes if item.type == WEIGHTS_POD_CONDITION]
    assert told == [f"{number} of 9 MiB are unsealed" for number in (0, 2, 4, 6, 8)]


async def test_a_pod_that_unseals_nothing_may_report_nothing(depot: Depot) -> None:
    depot.set_mode("depot")
    depot.api.proofs._configs.clear()
    status, body = await depot.report(READY)
    assert (status, body["reason"]) == (403, "NotAllowed")
    assert "pod team-a/chat-0 unseals nothing" in body["message"]
    assert depot.condition == {}
    await depot.ask("GET", "/v1/weights")
    assert (depot.condition["status"], depot.condition["reason"]) == ("True", "WeightsAvailable")


async def test_a_pod_without_a_fresh_proof_may_report_nothing(tmp_path: Path) -> None:
    depot = Depot(tmp_path)
    status, body = await depot.report(READY)
    assert (status, body["reason"]) == (409, "IsolationNotProven")
    await depot.prove()
    depot.now += 91
    status, body = await depot.report(READY)
    assert (status, body["reason"]) == (409, "IsolationNotProven")
    assert "the last proof is 91 s old" in body["message"]
    assert depot.condition == {}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"reason": "IsolationProven", "message": "", "ready": False}, 400, "its reason is none that a pod may give"),
        ({"reason": "SealBroken", "message": "", "ready": True}, 400, "does not go with reason SealBroken"),
        (b"no json", 400, "it is not JSON"),
        (b"x" * (1 << 20), 413, "the body is larger than"),
        (b"x" * 5000, 400, "it has 5000 bytes, 4096 allowed"),
    ],
)
async def test_a_report_that_is_not_as_it_must_be_changes_nothing(
    depot: Depot, body: Any, status: int, message: str
) -> None:
    found, said = await depot.report(body)
    assert (found, depot.condition) == (status, {})
    assert message in said["message"]


async def test_a_stranger_may_report_nothing(depot: Depot) -> None:
    depot.cluster.tokens.clear()
    depot.api.authenticator = Authenticator(depot.cluster)
    status, body = await depot.report(READY)
    assert (status, body["reason"]) == (401, "Unauthenticated")
    assert depot.condition == {}


async def test_a_leak_takes_the_word_of_the_pod_back(depot: Depot) -> None:
    await depot.report(READY)
    depot.api.proofs.canary.note("10.8.0.5")
    depot.now += 1
    depot.api.proofs.canary.clock = depot.clock
    depot.api.proofs.canary.note("10.8.0.5")
    status, _ = await depot.ask("POST", "/v1/proof", encode_proof(IsolationProof(at=depot.now, results=(BLOCKED,))))
    assert status == 422
    assert (depot.condition["status"], depot.condition["reason"]) == ("False", "IsolationNotProven")
    assert (await depot.report(READY))[0] == 409


async def test_what_is_in_the_cache_for_one_namespace_is_given_to_no_other(depot: Depot) -> None:
    asked: list[tuple[str, str]] = []

    def refuse(uri: str, *, namespace: str) -> None:
        asked.append((uri, namespace))
        raise RefusedError(Reason.SOURCE_NOT_ALLOWED, f"{uri} is not for namespace {namespace}")

    depot.api.fetches.admit = refuse  # type: ignore[method-assign]
    status, body = await depot.ask("GET", "/v1/weights")
    assert (status, body["reason"]) == (422, "SourceNotAllowed")
    assert asked[0][1] == NAMESPACE
    assert depot.condition["reason"] == "SourceNotAllowed"
    status, body = await depot.ask("GET", f"/v1/blobs/{SET.files[0].digest}")
    assert (status, body["reason"]) == (403, "NotAllowed")
