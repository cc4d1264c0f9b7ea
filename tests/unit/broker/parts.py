"""A broker with all that it meets, in one process: an API server, machines that sign, a key service, a record, pods."""

import asyncio
import base64
import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sekisho.api import names
from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence, encode_evidence
from sekisho.attest.isolation import CanaryResult, IsolationProof, Outcome, encode_proof
from sekisho.broker.announcing import Announcer
from sekisho.broker.challenges import ChallengeBook
from sekisho.broker.cluster import KubeCluster
from sekisho.broker.keys import KeyLimits, Keys
from sekisho.broker.release import Broker, Parts
from sekisho.broker.releasefacts import ReleaseRules
from sekisho.broker.sealing import SUITE
from sekisho.broker.verifying import Verifier
from sekisho.broker.wire import RELEASE, encode_bytes, parse_ask, parse_proof_body
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kms import failures, service
from sekisho.kms.service import KeyService, KeyState
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiRefusedError
from sekisho.kube.pods import PodFacts
from sekisho.kube.resources import Resource
from sekisho.ledger.entry import encode_entry, parse_entry
from sekisho.render.podspec import digest_template
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.keys import KeyContext, WrappedKey, encode_wrapped
from tests.unit.attest.claims import CHIP, MEASUREMENT, SNP, TPM
from tests.unit.broker.release_cases import AGENT, IMAGE, MANIFEST, SITE_KEY, build_rules

Raw = dict[str, Any]
START = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
DATA_KEY = bytes(range(32))
CONTEXT = KeyContext("legal/reviewer", 7, "internal")
KEY_ID = "transit/legal"
NAMESPACE, SERVICE, POD, NODE = "legal", "chat", "chat-predictor-1", "tk-1"
TOKEN = "token-of-the-pod"
TPM_NAME = b"\x00\x0b" + b"\x07" * 32
CANARY = {"name": "node", "host": "$HOST_IP", "port": 10250, "protocols": ["tcp"]}


class Clock:
    """A time that tests set; wall and monotonic clock in one."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


@dataclass
class Machine:
    """Hardware that behaves: it signs what is true of it, and nothing else."""

    chip: bytes = CHIP
    measurement: bytes = MEASUREMENT
    debug: bool = False
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    quotes: int = 0

    def attest(self, bound: bytes) -> UnverifiedEvidence:
        self.quotes += 1
        report = {
            "bound": bound.hex(), "chip": self.chip.hex(), "debug": self.debug, "measurement": self.measurement.hex(),
            "number": self.quotes,
        }  # fmt: skip
        return self.sign(report)

    def sign(self, report: Mapping[str, Any]) -> UnverifiedEvidence:
        data = json.dumps(report, sort_keys=True).encode()
        return UnverifiedEvidence("snp", data, (), (("signature", self.key.sign(data)),))

    def quote(self, bound: bytes, name: bytes = TPM_NAME) -> UnverifiedEvidence:
        """Quote as a TPM with an attestation key of this name."""
        piece = self.sign({"bound": bound.hex(), "name": name.hex(), "number": self.quotes})
        return replace(piece, kind="tpm")


class Maker:
    """Who made the machines, and verifies what they sign."""

    def __init__(self, *machines: Machine) -> None:
        self.machines = list(machines)
        self.verified = 0

    def verify(self, piece: UnverifiedEvidence, at: datetime, enrolled: frozenset[bytes]) -> Claims:
        self.verified += 1
        if not any(self._holds(machine, piece) for machine in self.machines):
            raise RefusedError(Reason.EVIDENCE_UNTRUSTED, "no machine of ours signed this")
        report = json.loads(piece.report)
        common = {
            "bound_data": bytes.fromhex(report["bound"]), "evidence_digest": digest_bytes(piece.report),
            "window": replace(SNP.window, not_before=at - timedelta(days=1), not_after=at + timedelta(days=1)),
        }  # fmt: skip
        if piece.kind == "tpm":
            name = bytes.fromhex(report["name"])
            if name not in enrolled:
                raise RefusedError(Reason.EVIDENCE_UNTRUSTED, "the attestation key is not enrolled")
            return replace(TPM, chip_id=hashlib.sha256(name).digest(), **common)
        return replace(
            SNP, chip_id=bytes.fromhex(report["chip"]), debug=report["debug"],
            measurement=bytes.fromhex(report["measurement"]), **common,
        )  # fmt: skip

    def _holds(self, machine: Machine, piece: UnverifiedEvidence) -> bool:
        try:
            machine.key.public_key().verify(piece.part("signature"), piece.report)
        except InvalidSignature:
            return False
        return True


class Vault:
    """A key service that behaves as transit does; counts what it unwraps."""

    def __init__(self) -> None:
        self.versions = {version: bytes([version]) * 32 for version in (1, 2, 3, 4)}
        self.least = 1
        self.enabled = True
        self.trouble: Exception | None = None
        self.before: Callable[[], object] = lambda: None
        self.unwrapped = 0
        self.described = 0
        self.minimum_asked = 0

    def open(self, kms: str, key_id: str, minimum_version: int) -> KeyService:
        if (kms, key_id) != ("openbao", KEY_ID):
            raise failures.not_found(kms, key_id)
        self.minimum_asked = minimum_version
        return self

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        version = max(self.versions)
        sealed = AESGCM(self.versions[version]).encrypt(bytes(12), data_key, context.encode())
        return WrappedKey("openbao", key_id, str(version), b"%d:" % version + sealed)

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        self.before()
        if self.trouble is not None:
            raise self.trouble
        version, _, sealed = wrapped.wrapped.partition(b":")
        service.check_version("openbao", wrapped.key_id, int(version), max(self.least, self.minimum_asked))
        try:
            data_key = AESGCM(self.versions[int(version)]).decrypt(bytes(12), sealed, context.encode())
        except InvalidTag:
            raise failures.mismatch("openbao", wrapped.key_id) from None
        self.unwrapped += 1
        return data_key

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        return self.wrap(self.unwrap(wrapped, context=context), key_id=wrapped.key_id, context=context)

    def describe(self, key_id: str) -> KeyState:
        if self.trouble is not None:
            raise self.trouble
        self.described += 1
        return KeyState(
            kms="openbao", key_id=key_id, enabled=self.enabled, latest_version=max(self.versions),
            minimum_version=max(self.least, self.minimum_asked), algorithm="aes", detail="it is soft-deleted",
        )  # fmt: skip


class Api:
    """The API server's objects, as the client shows them; what it is asked is counted."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Raw] = {}
        self.tokens: dict[str, Raw] = {}
        self.asked: list[str] = []
        self.patches: list[Raw] = []
        self.down = False
        self.denies = False

    def put(self, plural: str, raw: Raw) -> Raw:
        meta = raw["metadata"]
        self.objects[plural, meta.get("namespace", ""), meta["name"]] = raw
        return raw

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Raw | None:
        await self._answer(f"get {resource.plural}")
        found = self.objects.get((resource.plural, namespace, name))
        return copy.deepcopy(found)

    async def create(self, review: Raw) -> Raw:
        await self._answer("review")
        user = self.tokens.get(review["spec"]["token"])
        audiences = review["spec"]["audiences"]
        return {"status": {"authenticated": user is not None, "audiences": audiences, "user": user or {}}}

    async def patch(self, resource: Resource, name: str, body: Raw, *, namespace: str = "", **_: Any) -> Raw:
        await self._answer(f"patch {resource.plural}")
        pod = self.objects.get((resource.plural, namespace, name))
        if pod is None or pod["metadata"]["uid"] != body["metadata"]["uid"]:
            raise ApiRefusedError("not found", status=404)
        self.patches.append(body)
        there = {item["type"]: item for item in pod["status"].get("conditions", [])}
        there |= {item["type"]: item for item in body["status"]["conditions"]}
        pod["status"]["conditions"] = list(there.values())
        return pod

    async def _answer(self, what: str) -> None:
        await asyncio.sleep(0)
        self.asked.append(what)
        if self.down:
            raise UnavailableError(Reason.API_UNAVAILABLE, "the API server did not answer in time")
        if self.denies:
            raise ApiRefusedError("forbidden", status=403)


class Book:
    """A record that behaves: it takes entries, or it does not."""

    def __init__(self) -> None:
        self.entries: list[Raw] = []
        self.full = False

    async def append(self, entry: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.full:
            raise UnavailableError(Reason.RECORD_UNAVAILABLE, "no key is released that cannot be recorded: disk full")
        self.entries.append(parse_entry(encode_entry(entry)))


def build_template() -> Raw:
    labels = {
        names.SERVICE_LABEL: SERVICE, names.SITE_LABEL: "tokyo", names.CLASS_LABEL: "confidential.gdpr",
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }  # fmt: skip
    return {
        "metadata": {"labels": labels},
        "spec": {
            "serviceAccountName": "chat-predictor",
            "initContainers": [
                {"name": "fence", "image": f"r.test/agent@{AGENT}"},
                {"name": "agent", "image": f"r.test/agent@{AGENT}", "restartPolicy": "Always"},
            ],
            "containers": [{"name": "engine", "image": f"r.test/engine@{IMAGE}"}],
        },
    }


def build_pod(*, name: str = POD, uid: str = "uid-1", node: str = NODE, address: str = "10.8.0.5") -> Raw:
    template = build_template()
    metadata = template["metadata"] | {"name": name, "namespace": NAMESPACE, "uid": uid}
    metadata["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": "chat-predictor-x", "uid": "rs-1", "controller": True}
    ]
    running = [
        {"name": "fence", "imageID": f"r.test/agent@{AGENT}"}, {"name": "agent", "imageID": f"r.test/agent@{AGENT}"},
    ]  # fmt: skip
    return {
        "metadata": metadata,
        "spec": template["spec"] | {"nodeName": node},
        "status": {
            "hostIP": "10.9.0.2", "podIPs": [{"ip": address}], "startTime": "2026-11-29T11:00:00Z", "phase": "Running",
            "initContainerStatuses": running, "containerStatuses": [{"name": "engine", "imageID": ""}],
            "conditions": [{"type": names.ISOLATED_POD_CONDITION, "status": "True"}],
        },
    }  # fmt: skip


def fill(api: Api) -> None:
    """Put a service into the cluster, and all that it was made by."""

    def owned(kind: str, name: str, uid: str) -> list[Raw]:
        return [{"kind": kind, "name": name, "uid": uid, "controller": True}]

    def meta(name: str, uid: str, **more: Any) -> Raw:
        return {"name": name, "namespace": NAMESPACE, "uid": uid, **more}

    api.put("pods", build_pod())
    api.put(
        "replicasets",
        {"metadata": meta("chat-predictor-x", "rs-1", ownerReferences=owned("Deployment", "chat-predictor", "d-1"))},
    )
    api.put(
        "deployments",
        {"metadata": meta("chat-predictor", "d-1", ownerReferences=owned("InferenceService", SERVICE, "is-1"))},
    )
    api.put("inferenceservices", {
        "metadata": meta(SERVICE, "is-1"), "spec": {"users": ["group:legal"]},
        "status": {"template": {"digest": digest_template(build_template()), "earlier": []}},
    })  # fmt: skip
    api.put(
        "nodes",
        {
            "metadata": {
                "name": NODE,
                "labels": {SITE_KEY: "tokyo"},
                "annotations": {names.NODE_AK_ANNOTATION: TPM_NAME.hex()},
            }
        },
    )
    api.put("configmaps", {"metadata": meta("chat-predictor", "cm-1"),
                           "data": {"agent.json": json.dumps({"canaries": [CANARY]})}})  # fmt: skip
    api.tokens[TOKEN] = identity_of(POD, "uid-1")


def identity_of(pod: str, uid: str) -> Raw:
    extra = {"authentication.kubernetes.io/pod-name": [pod], "authentication.kubernetes.io/pod-uid": [uid]}
    return {"username": f"system:serviceaccount:{NAMESPACE}:chat-predictor", "extra": extra}


@dataclass
class World:
    """All that is outside of brokers."""

    clock: Clock = field(default_factory=Clock)
    api: Api = field(default_factory=Api)
    machine: Machine = field(default_factory=Machine)
    vault: Vault = field(default_factory=Vault)
    book: Book = field(default_factory=Book)
    rules: ReleaseRules = field(default_factory=build_rules)
    rules_trouble: Exception | None = None
    kms_seconds: float = 60.0

    def __post_init__(self) -> None:
        self.maker = Maker(self.machine)
        fill(self.api)
        self.wrapped = self.vault.wrap(DATA_KEY, key_id=KEY_ID, context=CONTEXT)
        self.cluster = KubeCluster(cast("KubeClient", self.api), clock=self.clock)

    def read_rules(self) -> ReleaseRules:
        if self.rules_trouble is not None:
            raise self.rules_trouble
        return self.rules

    def build_broker(self) -> Broker:
        return Broker(self.build_parts())

    def build_parts(self, **changes: Any) -> Parts:
        parts = Parts(
            cluster=self.cluster,
            rules=self.read_rules,
            challenges=ChallengeBook(seconds=30, clock=self.clock),
            verifier=Verifier(self.maker.verify, threads=2),
            keys=Keys(self.vault.open, limits=KeyLimits(seconds=self.kms_seconds, threads=2), clock=self.clock),
            record=self.book,
            announcer=Announcer(self.cluster),
            now=self.clock.now,
        )
        return replace(parts, **changes)

    def pod(self, name: str = POD) -> Raw:
        return self.api.objects["pods", NAMESPACE, name]

    def service(self) -> Raw:
        return self.api.objects["inferenceservices", NAMESPACE, SERVICE]

    def conditions(self, name: str = POD) -> dict[str, Raw]:
        return {item["type"]: item for item in self.pod(name)["status"]["conditions"]}


@dataclass
class Agent:
    """A pod's side of the wire; every part of what it says can be spoiled.

    Attributes:
        spoil: Changes the body of an answer before it is sent.
        bind: Changes what the evidence is made for.
    """

    world: World
    name: str = POD
    private: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    question: Raw = field(default_factory=dict)
    spoil: Callable[[Raw], object] = lambda _body: None
    bind: Callable[[Binding], Binding] = lambda binding: binding
    attest: Callable[[Binding], list[UnverifiedEvidence]] | None = None
    proof_age: float = 1.0
    outcome: str = "blocked"

    def build_question(self) -> Raw:
        body = {
            "class": CONTEXT.data_class,
            "keyFile": base64.b64encode(encode_wrapped(self.world.wrapped)).decode(),
            "manifestDigest": MANIFEST, "model": CONTEXT.model, "version": CONTEXT.version,
        }  # fmt: skip
        return body | self.question

    async def identify(self) -> PodFacts:
        found = await self.world.cluster.read_pod(NAMESPACE, self.name)
        assert found is not None
        return found

    async def ask(self, broker: Broker, purpose: str = RELEASE) -> Raw:
        body = encode_canonical({"purpose": purpose, "question": self.build_question()})
        return await broker.challenge(await self.identify(), parse_ask(body))

    def build_isolation(self) -> bytes:
        at = self.world.clock.now().timestamp() - self.proof_age
        tried = CanaryResult("node", "10.9.0.2", 10250, "tcp", cast("Outcome", self.outcome))
        return encode_proof(IsolationProof(at, (tried,)))

    def build_answer(self, challenge: Raw, pod: PodFacts, purpose: str = RELEASE) -> Raw:
        isolation, question = self.build_isolation(), self.build_question()
        public = self.private.public_key().public_bytes_raw() if purpose == RELEASE else b""
        binding = self.bind(
            Binding(
                purpose=purpose,
                nonce=base64.b64decode(challenge["nonce"]),
                public_key=public,
                namespace=pod.namespace,
                pod=pod.name,
                uid=pod.uid,
                policy_digest=challenge["policyDigest"],
                isolation_digest=digest_bytes(isolation),
                question_digest=digest_bytes(encode_canonical(question)),
            )
        )
        attest = self.attest or (lambda bound: [self.world.machine.attest(bound.digest(64))])
        body = {
            "challenge": challenge["challenge"], "evidence": encode_evidence(attest(binding)),
            "isolation": isolation.decode(), "question": question,
        }  # fmt: skip
        if purpose == RELEASE:
            body["key"] = encode_bytes(public)
        self.spoil(body)
        return body

    async def answer(self, broker: Broker, challenge: Raw, purpose: str = RELEASE) -> Raw:
        pod = await self.identify()
        return await self.send(broker, self.build_answer(challenge, pod, purpose), pod, purpose)

    async def send(self, broker: Broker, body: Raw, pod: PodFacts, purpose: str = RELEASE) -> Raw:
        proof = parse_proof_body(encode_canonical(body), purpose=purpose)
        if purpose == RELEASE:
            return await broker.release(pod, proof)
        if purpose == "renew":
            return await broker.renew(pod, proof)
        await broker.evicted(pod, proof)
        return {}

    async def get(self, broker: Broker, purpose: str = RELEASE) -> Raw:
        return await self.answer(broker, await self.ask(broker, purpose), purpose)

    def open(self, answer: Raw, binding: Binding) -> bytes:
        sealed = base64.b64decode(answer["enc"]) + base64.b64decode(answer["ciphertext"])
        return bytes(SUITE.decrypt(sealed, self.private, info=binding.encode()))


async def refuse(world: World, agent: Agent, purpose: str = "release") -> SekishoError:
    broker = world.build_broker()
    with pytest.raises(SekishoError) as caught:
        await agent.get(broker, purpose)
    await broker.settle()
    assert isinstance(caught.value, RefusedError | UnavailableError)
    return caught.value
