"""A broker in this process with all that it meets but the network: what K1 to K3 measure."""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.harness import Sample, WrongAnswerError
from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.evidence import encode_evidence
from sekisho.attest.isolation import CanaryResult, IsolationProof, encode_proof
from sekisho.attest.verifiers.select import Collateral, verify_evidence
from sekisho.attest.verifiers.snp import SnpCollateral
from sekisho.broker.announcing import Announcer
from sekisho.broker.challenges import ChallengeBook
from sekisho.broker.cluster import KubeCluster
from sekisho.broker.keys import Keys
from sekisho.broker.release import Broker, Parts
from sekisho.broker.sealing import SUITE
from sekisho.broker.verifying import Verifier
from sekisho.broker.wire import RELEASE, encode_body, parse_ask, parse_proof_body
from sekisho.kube.client import KubeClient
from sekisho.kube.pods import PodFacts
from sekisho.kube.resources import Resource
from sekisho.recording.record import Identity, Record
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.keys import encode_wrapped
from tests.simulators.hardware.snp import SimulatedSnp
from tests.unit.broker.parts import CONTEXT, DATA_KEY, NAMESPACE, Api, Vault, build_pod, fill
from tests.unit.broker.release_cases import MANIFEST, build_evidence, build_rules

Raw = dict[str, Any]
MEASUREMENT = b"\x11" * 48


class QuickApi(Api):
    """Objects handed out at once and uncopied: what the API server costs is not measured here."""

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Raw | None:
        return self.objects.get((resource.plural, namespace, name))

    async def patch(self, resource: Resource, name: str, body: Raw, *, namespace: str = "", **_: Any) -> Raw:
        return body


@dataclass
class Stand:
    """A broker, a chip, and as many pods as ask.

    Attributes:
        chips: One whose chain the broker knows by now; or for each pod and each time another one.
    """

    broker: Broker
    cluster: KubeCluster
    chips: Callable[[], SimulatedSnp]
    key_file: bytes
    loop: asyncio.AbstractEventLoop
    pods: list[PodFacts]

    def measure(self, count: int, *, at_once: int = 16) -> tuple[Sample, int]:
        """Release keys to pods; what pods do themselves between challenge and answer is not timed."""
        return self.loop.run_until_complete(self._measure(count, at_once))

    async def _measure(self, count: int, at_once: int) -> tuple[Sample, int]:
        gate = asyncio.Semaphore(at_once)
        pods = self.pods[:count]
        asks = encode_canonical({"purpose": RELEASE, "question": self._question()})

        async def ask(pod: PodFacts) -> Raw:
            async with gate:
                await self.cluster.read_pod(pod.namespace, pod.name)
                return dict(await self.broker.challenge(pod, parse_ask(asks)))

        async def answer(pod: PodFacts, body: bytes) -> bytes:
            async with gate:
                await self.cluster.read_pod(pod.namespace, pod.name)
                return encode_body(await self.broker.release(pod, parse_proof_body(body, purpose=RELEASE)))

        first, challenges = await _timed(asyncio.gather(*(ask(pod) for pod in pods)))
        made = [self._prove(pod, challenge) for pod, challenge in zip(pods, challenges, strict=True)]
        second, answers = await _timed(asyncio.gather(*(answer(pod, m[0]) for pod, m in zip(pods, made, strict=True))))
        await self.broker.settle()
        for (_, private, binding), data in zip(made, answers, strict=True):
            _check(private, binding, data)
        return Sample(count, first[0] + second[0], first[1] + second[1]), count

    def one(self) -> float:
        """Return the seconds from evidence to key for one pod alone."""
        return self.loop.run_until_complete(self._one())

    async def _one(self) -> float:
        pod = self.pods[0]
        await self.cluster.read_pod(pod.namespace, pod.name)
        ask = encode_canonical({"purpose": RELEASE, "question": self._question()})
        challenge = await self.broker.challenge(pod, parse_ask(ask))
        body, private, binding = self._prove(pod, challenge)
        await self.cluster.read_pod(pod.namespace, pod.name)
        began = time.perf_counter()
        data = encode_body(await self.broker.release(pod, parse_proof_body(body, purpose=RELEASE)))
        seconds = time.perf_counter() - began
        _check(private, binding, data)
        return seconds

    def _question(self) -> Raw:
        key_file = base64.b64encode(self.key_file).decode()
        return {
            "class": CONTEXT.data_class, "keyFile": key_file, "manifestDigest": MANIFEST, "model": CONTEXT.model,
            "version": CONTEXT.version,
        }  # fmt: skip

    def _prove(self, pod: PodFacts, challenge: Raw) -> tuple[bytes, X25519PrivateKey, Binding]:
        at = datetime.now(UTC).timestamp() - 1
        isolation = encode_proof(IsolationProof(at, (CanaryResult("node", "10.9.0.2", 10250, "tcp", "blocked"),)))
        question, private = self._question(), X25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        binding = Binding(
            purpose=RELEASE, nonce=base64.b64decode(challenge["nonce"]), public_key=public, namespace=pod.namespace,
            pod=pod.name, uid=pod.uid, policy_digest=challenge["policyDigest"],
            isolation_digest=digest_bytes(isolation), question_digest=digest_bytes(encode_canonical(question)),
        )  # fmt: skip
        body = {
            "challenge": challenge["challenge"], "question": question, "isolation": isolation.decode(),
            "evidence": encode_evidence([self.chips().evidence(binding.digest(64), measurement=MEASUREMENT)]),
            "key": base64.b64encode(public).decode(),
        }  # fmt: skip
        return encode_canonical(body), private, binding


@contextmanager
def open_stand(*, cold: bool, pods: int = 256) -> Iterator[Stand]:
    """Put a broker together; with `cold` each pod runs on a chip that was never seen."""
    chip, api, vault = SimulatedSnp("Genoa"), QuickApi(), Vault()
    seeds = itertools.count(1)
    fill(api)
    for number in range(pods):
        pod = api.put("pods", build_pod(name=f"chat-{number}", uid=f"uid-{number}"))
        pod["status"]["podIPs"] = [{"ip": "10.8.0.5"}]
    wrapped = vault.wrap(DATA_KEY, key_id="transit/legal", context=CONTEXT)
    cluster = KubeCluster(cast("KubeClient", api))
    collateral = Collateral(snp=SnpCollateral((chip.ark,), (chip.ask,), (chip.crl(),)))
    components = [{"component": "microcode", "version": 1}]
    policy = build_evidence(measurements=[MEASUREMENT.hex()], chips=None, minimumTcb=components)
    rules = build_rules(evidence={"genoa": policy})
    loop = asyncio.new_event_loop()
    with TemporaryDirectory(prefix="bench-release-") as folder:
        record = Record(Path(folder), Identity("bench"))
        record.open()
        parts = Parts(
            cluster=cluster, rules=lambda: rules, challenges=ChallengeBook(seconds=60),
            verifier=Verifier(lambda piece, at, _: verify_evidence(piece, collateral, at=at), threads=2),
            keys=Keys(vault.open), record=record, announcer=Announcer(cluster), now=lambda: datetime.now(UTC),
        )  # fmt: skip
        known = loop.run_until_complete(_read_pods(cluster, pods))
        chips = (lambda: SimulatedSnp("Genoa", seed=next(seeds))) if cold else (lambda: chip)
        yield Stand(Broker(parts), cluster, chips, encode_wrapped(wrapped), loop, known)
        loop.run_until_complete(record.close())
        parts.keys.close()
        parts.verifier.close()
        loop.close()


async def _read_pods(cluster: KubeCluster, count: int) -> list[PodFacts]:
    found = [await cluster.read_pod(NAMESPACE, f"chat-{number}") for number in range(count)]
    return [pod for pod in found if pod is not None]


async def _timed(work: "asyncio.Future[list[Any]]") -> tuple[tuple[float, float], list[Any]]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = await work
    return (time.perf_counter() - wall, time.process_time() - cpu), found


def _check(private: X25519PrivateKey, binding: Binding, data: bytes) -> None:
    value = json.loads(data)
    sealed = base64.b64decode(value["enc"]) + base64.b64decode(value["ciphertext"])
    if bytes(SUITE.decrypt(sealed, private, info=binding.encode())) != DATA_KEY:
        raise WrongAnswerError("a pod opened something else than its key")
