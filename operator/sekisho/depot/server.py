"""What pods of models may ask of the depot, over TLS and by their projected token."""

import logging
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from sekisho.api.names import WEIGHTS_POD_CONDITION
from sekisho.api.times import parse_time_or_zero
from sekisho.attest.isolation import MAX_PROOF_BYTES, parse_proof
from sekisho.attest.unsealing import REPORTABLE, parse_report
from sekisho.depot.cache import DIGEST, BlobCache
from sekisho.depot.cluster import Cluster, WeightsWish
from sekisho.depot.fetches import Fetches, FetchProgress, WeightsSet, encode_files
from sekisho.depot.proofs import ProofBook
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kube.bearer import Authenticator
from sekisho.kube.conditions import PodCondition
from sekisho.kube.pods import PodFacts

_LOG: Final = logging.getLogger(__name__)
_TELL_SECONDS: Final = 2.0
_TELL_PERCENT: Final = 5
_REFRESH_SECONDS: Final = 60.0
_WISH_SECONDS: Final = 5.0
_DOWNLOADS_AT_ONCE: Final = 64
_DOWNLOADS_OF_ONE: Final = 8
_STALLED_SECONDS: Final = 60
_STATUS: Final = {
    Reason.REQUEST_INVALID: 400,
    Reason.UNAUTHENTICATED: 401,
    Reason.POD_NOT_KNOWN: 403,
    Reason.NOT_ALLOWED: 403,
    Reason.ISOLATION_NOT_PROVEN: 409,
    Reason.ISOLATION_LEAK: 422,
    Reason.ISOLATION_PROOF_INCOMPLETE: 422,
    Reason.ISOLATION_PROOF_STALE: 422,
    Reason.DEPOT_OVERLOADED: 429,
    Reason.DEPOT_FULL: 507,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _Told:
    """What a pod's condition on weights says, as we last wrote it.

    Attributes:
        by_pod: Whether the pod itself reported it: it stands until bytes flow again, or the pod says otherwise.
    """

    reason: Reason | None = None
    message: str = ""
    percent: int = 0
    at: float = 0.0
    since_at: float = 0.0
    by_pod: bool = False


@dataclass(slots=True)
class DepotApi:
    """The routes.

    Attributes:
        most_bytes: Largest weights that any service may have.
        served: Told the size of every file that was sent; for metrics.
        proved: Told the reason of every verdict; for metrics.
        reported: Told the reason of every report of a pod that unseals; for metrics.
    """

    cluster: Cluster
    authenticator: Authenticator
    proofs: ProofBook
    fetches: Fetches
    cache: BlobCache
    most_bytes: int
    clock: Callable[[], float] = time.time
    served: Callable[[int], None] = lambda _count: None
    proved: Callable[[Reason], None] = lambda _reason: None
    reported: Callable[[Reason], None] = lambda _reason: None
    _grants: dict[str, frozenset[str]] = field(default_factory=dict)
    _told: dict[str, _Told] = field(default_factory=dict)
    _wishes: dict[tuple[str, str], tuple[float, WeightsWish]] = field(default_factory=dict)
    _downloads: Counter[str] = field(default_factory=Counter)

    def build(self) -> web.Application:
        """Build the application; bodies are bounded by the size of a proof."""
        app = web.Application(client_max_size=MAX_PROOF_BYTES, middlewares=[answer_errors])
        app.router.add_post("/v1/proof", self.post_proof)
        app.router.add_get("/v1/weights", self.get_weights, allow_head=False)
        app.router.add_get("/v1/blobs/{digest}", self.get_blob)
        app.router.add_post("/v1/weights/report", self.post_report)
        return app

    async def post_proof(self, request: web.Request) -> web.Response:
        """Appraise a proof of isolation."""
        pod = await self._identify(request)
        proof = parse_proof(await request.read())
        verdict = await self.proofs.submit(pod, proof)
        self.proved(verdict.reason)
        if not verdict.ok:
            # Of an incomplete proof the agent's list may be to blame, a minute behind after a canary moved: an agent
            # that found nothing open by its own list keeps the weights, and would not ask for them again.
            if verdict.reason is not Reason.ISOLATION_PROOF_INCOMPLETE:
                await self._withdraw(pod)
            raise RefusedError(verdict.reason, verdict.message)
        return web.Response(status=204)

    async def get_weights(self, request: web.Request) -> web.Response:
        """Tell a proven pod its files, or how far they are."""
        pod = await self._identify(request)
        self.proofs.require_fresh(pod)
        try:
            wish = replace(await self._read_wish(pod), sealed=await self.proofs.unseals(pod))
            self.fetches.admit(wish.uri, namespace=pod.namespace)
            answer = self.fetches.ask(wish, namespace=pod.namespace)
        except SekishoError as error:
            await self._tell(pod, error.reason, error.message)
            raise
        if isinstance(answer, FetchProgress):
            percent = 100 * answer.done_bytes // answer.total_bytes if answer.total_bytes else 0
            await self._tell(pod, Reason.FETCHING, answer.message, percent=percent)
            body = {"message": answer.message, "doneBytes": answer.done_bytes, "totalBytes": answer.total_bytes}
            return web.json_response(body, status=202)
        self._grant(pod, answer)
        await self._tell_granted(pod, answer)
        return web.json_response(
            {"digest": answer.digest, "totalBytes": answer.total_bytes, "files": encode_files(answer.files)}
        )

    async def post_report(self, request: web.Request) -> web.Response:
        """Take down how unsealing goes in a pod that unseals its weights; of no other pod, and before no proof."""
        pod = await self._identify(request)
        self.proofs.require_fresh(pod)
        report = parse_report(await request.read())
        if not await self.proofs.unseals(pod):
            raise RefusedError(
                Reason.NOT_ALLOWED,
                f"pod {pod.namespace}/{pod.name} unseals nothing; its weights are for the depot to tell",
            )
        self.reported(report.reason)
        await self._tell(pod, report.reason, report.message, by_pod=True)
        return web.Response(status=204)

    async def _tell_granted(self, pod: PodFacts, weights: WeightsSet) -> None:
        """Say that the files are there; of ciphertext only that: what is unsealed, the pod alone can tell."""
        if not await self.proofs.unseals(pod):
            message = f"{len(weights.files)} files, {weights.total_bytes} bytes, {weights.digest}"
            await self._tell(pod, Reason.WEIGHTS_AVAILABLE, message)
            return
        told = self._told.get(pod.uid) or _resume(pod)
        if not told.by_pod:
            message = f"the ciphertext is in the depot ({weights.total_bytes >> 20} MiB); the pod unseals it"
            await self._tell(pod, Reason.FETCHING, message, percent=100)

    async def get_blob(self, request: web.Request) -> web.StreamResponse:
        """Send one of the pod's own files, or the part of it that Range names."""
        pod = await self._identify(request)
        self.proofs.require_fresh(pod)
        digest = request.match_info["digest"]
        if not DIGEST.match(digest):
            raise RefusedError(Reason.REQUEST_INVALID, "a blob is named sha256: and 64 hexadecimal digits")
        if digest not in self._grants.get(pod.uid, frozenset()):
            raise RefusedError(Reason.NOT_ALLOWED, f"{digest} is none of the files of {pod.namespace}/{pod.service}")
        path = self.cache.find(digest)
        if path is None:
            raise UnavailableError(Reason.WEIGHTS_PENDING, f"{digest} has left the cache; ask for the weights again")
        self._check_downloads(pod)
        _end_when_stalled(request)
        self._downloads[pod.uid] += 1
        try:
            response = _Blob(path, chunk_size=1 << 20, headers={"Content-Type": "application/octet-stream"})
            await response.prepare(request)
            self.served(response.content_length or 0)
            return response
        finally:
            self._downloads[pod.uid] -= 1
            self._downloads += Counter()  # keeps what is above zero

    def _check_downloads(self, pod: PodFacts) -> None:
        """Refuse more downloads than there may be, of all pods and of one."""
        running, own = self._downloads.total(), self._downloads[pod.uid]
        if running >= _DOWNLOADS_AT_ONCE or own >= _DOWNLOADS_OF_ONE:
            message = f"{running} downloads are running, {own} of this pod; ask again later"
            raise UnavailableError(Reason.DEPOT_OVERLOADED, message)

    def forget(self) -> None:
        """Let go of files of pods that stopped proving, and of what was told of them."""
        live = self.proofs.live_pods()
        for owner in self.cache.owners():
            if owner.startswith("pod ") and owner.removeprefix("pod ") not in live:
                self.cache.unpin(owner)
        for uid in [uid for uid in self._grants if uid not in live]:
            del self._grants[uid]
        for uid in [uid for uid, told in self._told.items() if uid not in live and self.clock() - told.at > 600]:
            del self._told[uid]
        now = self.clock()
        self._wishes = {key: kept for key, kept in self._wishes.items() if now - kept[0] <= _WISH_SECONDS}

    async def _identify(self, request: web.Request) -> PodFacts:
        return await self.authenticator.identify(request.headers.get("Authorization", ""), peer=request.remote or "")

    async def _read_wish(self, pod: PodFacts) -> WeightsWish:
        key, now = (pod.namespace, pod.service), self.clock()
        kept = self._wishes.get(key)
        if kept is None or now - kept[0] > _WISH_SECONDS:
            kept = (now, await self.cluster.read_wish(*key, most_bytes=self.most_bytes))
            self._wishes[key] = kept
        if kept[1].uri.startswith("pvc://"):
            raise RefusedError(
                Reason.WEIGHTS_MOUNTED, "these weights are mounted from a claim; the depot has none to give"
            )
        return kept[1]

    def _grant(self, pod: PodFacts, weights: WeightsSet) -> None:
        owner = f"pod {pod.uid}"
        self.cache.unpin(owner)
        for file in weights.files:
            self.cache.pin(file.digest, owner)
        self._grants[pod.uid] = frozenset(file.digest for file in weights.files)

    async def _withdraw(self, pod: PodFacts) -> None:
        """Forget what a pod was given: its agent wipes it when a proof fails, so nobody may say it is there."""
        self._grants.pop(pod.uid, None)
        self.cache.unpin(f"pod {pod.uid}")
        told = self._told.get(pod.uid) or _resume(pod)
        if told.reason is Reason.WEIGHTS_AVAILABLE:
            await self._tell(pod, Reason.ISOLATION_NOT_PROVEN, "the weights are taken back with the proof of isolation")

    async def _tell(
        self, pod: PodFacts, reason: Reason, message: str, *, percent: int = 0, by_pod: bool = False
    ) -> None:
        """Publish the state of the weights as a condition of the pod, no more often than people can read."""
        now = self.clock()
        told = self._told.get(pod.uid) or _resume(pod)
        ok = reason is Reason.WEIGHTS_AVAILABLE
        if told.reason is reason:
            moved = reason is Reason.FETCHING and abs(percent - told.percent) >= _TELL_PERCENT
            changed = message != told.message and (by_pod or reason is not Reason.FETCHING)
            pause = _TELL_SECONDS if moved or changed else _REFRESH_SECONDS
            if now - told.at < pause or (ok and message == told.message):
                return
        since = told.since_at if told.reason is not None and ok == (told.reason is Reason.WEIGHTS_AVAILABLE) else now
        await self.cluster.write_conditions(pod, [PodCondition(WEIGHTS_POD_CONDITION, ok, reason, message, since, now)])
        self._told[pod.uid] = _Told(reason, message, percent, now, since, by_pod)


def _end_when_stalled(request: web.Request) -> None:
    """Have the kernel end a connection whose other side takes nothing: a node that is gone must not keep a place."""
    line = request.transport.get_extra_info("socket") if request.transport is not None else None
    if line is not None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_SECONDS * 1000)


class _Blob(web.FileResponse):
    """A file that is sent within its handler, so that running downloads can be counted; aiohttp would send it twice."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None if self.prepared else await super().prepare(request)


def _resume(pod: PodFacts) -> _Told:
    condition = pod.conditions.get(WEIGHTS_POD_CONDITION)
    if condition is None:
        return _Told()
    try:
        reason = Reason(str(condition.get("reason")))
    except ValueError:
        return _Told()
    since_at = parse_time_or_zero(condition.get("lastTransitionTime"))
    by_pod = reason in REPORTABLE and reason is not Reason.FETCHING  # who said it is not kept; the pod soon tells anew
    return _Told(reason, str(condition.get("message", "")), since_at=since_at, by_pod=by_pod)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a body with reason and message; what is not ours to tell stays in the log."""
    try:
        return await handler(request)
    except SekishoError as error:
        status = _STATUS.get(error.reason, 503 if error.retry else 422)
        headers = {"Retry-After": "2"} if error.retry else {}
        return web.json_response({"reason": error.reason, "message": error.message}, status=status, headers=headers)
    except web.HTTPRequestEntityTooLarge:
        message = f"the body is larger than {MAX_PROOF_BYTES} bytes"
        return web.json_response({"reason": Reason.REQUEST_TOO_LARGE, "message": message}, status=413)
    except web.HTTPException as error:
        message = f"there is nothing at {request.method} {request.path[:80]}"
        return web.json_response({"reason": Reason.REQUEST_INVALID, "message": message}, status=error.status)
