"""Decide about one request: what its class is, whether the service and the caller are cleared for it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from sekisho.access.references import list_references
from sekisho.api.names import CLASS_LABEL
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import UNLABELLED_SOURCE, DataClass, Floor, Lattice, join_floors
from sekisho.classify.rules import rules_of
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.guards.inspect import explain
from sekisho.gateway.guards.rulebook import Rulebook
from sekisho.gateway.waking.resting import Rest, read_rest
from sekisho.redact.detect import Tagger

CLASS_HEADER: Final = "x-sekisho-classification"
_WANTED: Final = ("Isolated", "Ready")
_DECIDED: Final = ("Accepted", "Placed")
_BROKERED: Final = "KeyReleased"
_MAX_MESSAGE: Final = 512
_MAX_KNOWN: Final = 1024
# What keeps a service from being ready because of some of its pods: each pod is then looked at by itself. Whatever else
# it says, such as a policy of others that opens it, or a proof that found a way out, holds for all of them.
_OF_PODS: Final = frozenset({
    Reason.ISOLATION_PENDING, Reason.ISOLATION_PROOF_STALE, Reason.EVIDENCE_STALE, Reason.LEASE_EXPIRED,
    Reason.ENGINE_STARTING, Reason.ENGINE_CRASHING, Reason.IMAGE_PULL_FAILED, Reason.UNSCHEDULABLE,
    Reason.POD_REFUSED, Reason.PENDING, Reason.FETCHING, Reason.WEIGHTS_PENDING, Reason.SOURCE_UNREACHABLE,
    Reason.DEPOT_UNREACHABLE, Reason.DEPOT_FULL, Reason.DEPOT_OVERLOADED, Reason.BROKER_UNAVAILABLE,
    Reason.KMS_UNAVAILABLE, Reason.SCALED_TO_ZERO,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """One InferenceService as the gateway knows it.

    Attributes:
        cleared: Level and compartments that the operator placed it for; None before it did.
        floors: What the object itself asks for by now, and whatever else its class was joined of: (source, level,
            compartments). Under another policy they may come to more.
        unmet: Why none of its pods may be asked, None where they may.
        waits: Why not all of its pods serve, None where they do; each of them is looked at by itself.
        users: Whom it answers, by its spec; empty: whomever RBAC lets use it.
        granted: Of these, whom the grants of a guarded key name; None where no key is guarded.
        site: Where the operator placed it; empty before it did.
        brokered: Whether a broker releases the key of its weights.
        unlabelled: Whether it was placed for what the policy says of what nobody labelled; another may say more.
        rest: How it stands with a service that runs while it is asked for; None for any other.
    """

    namespace: str
    name: str
    created_at: int
    runtime: str
    cleared: tuple[str, tuple[str, ...]] | None
    floors: tuple[tuple[str, str, tuple[str, ...]], ...]
    unmet: str | None
    users: frozenset[str] = frozenset()
    granted: frozenset[str] | None = None
    site: str = ""
    waits: str | None = None
    brokered: bool = False
    uid: str = ""
    unlabelled: bool = False
    rest: Rest | None = None

    @property
    def full_name(self) -> str:
        """namespace/name: the model's name to callers and to the engine."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Backend:
    """Where an engine of a service answers.

    Attributes:
        host: Its IP address.
    """

    host: str
    port: int
    served_name: str

    @property
    def authority(self) -> str:
        """Host and port as URLs spell them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RequestClass:
    """The class of a request and every place that asked for it.

    Attributes:
        because: What was found in its texts that raised it, in words of a refusal; None where nothing was.
    """

    value: DataClass
    floors: tuple[Floor, ...]
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a caller is granted of what a class needs.

    Attributes:
        level: The highest level that was granted, None where none was.
        compartments: Those of the class that were granted.
    """

    level: str | None
    compartments: frozenset[str]


@dataclass(slots=True)
class _Known:
    """What one law says of one service; of nothing else it depends, so it holds as long as both are what they are."""

    service: ServiceFacts
    cleared: DataClass
    unasked: RequestClass | None = None


@dataclass(frozen=True, slots=True)
class Law:
    """The policy in force.

    Attributes:
        known: What it said of services, by their identity; each stands beside, so that no other gets it.
    """

    lattice: Lattice
    digest: str
    policy: ClassificationPolicySpec
    book: Rulebook = field(compare=False)
    known: dict[int, _Known] = field(default_factory=dict, init=False, repr=False, compare=False)


def read_law(spec: Mapping[str, Any], digest: str, names: Tagger | None = None, *, key: bytes = b"") -> Law:
    """Read the policy in force.

    Args:
        spec: Of the policy.
        digest: What records name it by.
        names: What knows names of people and places; None: nobody does.
        key: Of this process, by which its guards remember texts.

    Raises:
        UnavailableError: It cannot be read or held to; without a law nothing is relayed.
    """
    try:
        policy = ClassificationPolicySpec.model_validate(spec)
        return Law(Lattice.of(policy), digest, policy, Rulebook(policy, names, key=key))
    except RefusedError as error:
        raise UnavailableError(error.reason, f"nothing is relayed: {error.message}") from None
    except ValidationError:
        raise UnavailableError(
            Reason.POLICY_INVALID, "the ClassificationPolicy cannot be read, so nothing is relayed; its status says why"
        ) from None


def read_service(raw: Mapping[str, Any]) -> ServiceFacts:
    """Read what counts of an InferenceService."""
    meta, spec, status = raw.get("metadata") or {}, raw.get("spec") or {}, raw.get("status") or {}
    asked, label = spec.get("classification") or {}, (meta.get("labels") or {}).get(CLASS_LABEL)
    floors = []
    if asked.get("level"):
        floors.append(("spec.classification", str(asked["level"]), tuple(map(str, asked.get("compartments") or ()))))
    if label:
        level, *compartments = str(label).split(".")
        floors.append((f"label {CLASS_LABEL}", level, tuple(compartments)))
    decided = status.get("class") or {}
    found = decided.get("from") or ()
    floors += [
        (str(item.get("source")), str(item.get("level")), tuple(map(str, item.get("compartments") or ())))
        for item in found
        if item.get("source") != UNLABELLED_SOURCE
    ]
    cleared = (str(decided["level"]), tuple(map(str, decided.get("compartments") or ()))) if decided else None
    unmet, waits = _find_unmet(status)
    return ServiceFacts(
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        created_at=_read_time(meta.get("creationTimestamp")),
        runtime=str(status.get("runtime") or ""),
        cleared=cleared,
        floors=tuple(floors),
        unmet="it is being deleted" if meta.get("deletionTimestamp") else unmet,
        waits=waits,
        uid=str(meta.get("uid") or ""),
        unlabelled=any(item.get("source") == UNLABELLED_SOURCE for item in found),
        rest=read_rest(spec, status),
        brokered=any(item.get("type") == _BROKERED for item in status.get("conditions") or ()),
        users=frozenset(map(str, spec.get("users") or ())),
        granted=frozenset(map(str, status["users"])) if "users" in status else None,
        site=str((status.get("placement") or {}).get("site") or ""),
    )


def _read_time(text: Any) -> int:
    try:
        return int(datetime.fromisoformat(str(text)).timestamp())
    except ValueError:
        return 0


def _find_unmet(status: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return why no pod of a service may be asked, and why not all of them serve; the one excludes the other."""
    conditions = {str(item.get("type")): item for item in status.get("conditions") or ()}
    unmet = [kind for kind in _WANTED if (conditions.get(kind) or {}).get("status") != "True"]
    if not unmet:
        return None, None
    # What holds for all of them says more than what some pods still have before them.
    of_all = [kind for kind in unmet if (conditions.get(kind) or {}).get("reason") not in _OF_PODS]
    first = (of_all or unmet)[0]
    told = _tell(first, conditions.get(first))
    decided = all((conditions.get(kind) or {}).get("status") == "True" for kind in _DECIDED)
    decided = decided and (conditions.get("Serving") or {}).get("reason") != Reason.STOPPED
    return (None, told) if decided and not of_all else (told, None)


def _tell(kind: str, item: Mapping[str, Any] | None) -> str:
    if item is None:
        return f"{kind} is not known yet"
    return f"{kind} is {item.get('status')}: {item.get('reason')}: {str(item.get('message'))[:_MAX_MESSAGE]}"


def decide_class(law: Law, service: ServiceFacts, header: str | None, found: Sequence[Floor] = ()) -> RequestClass:
    """Join the class of the service, what the caller says, and what was found in the text; each can only raise.

    Args:
        law: The policy in force.
        service: Cleared for the floors of its model and namespace as well.
        header: What the caller says, None for nothing.
        found: What the request's texts raise it to, over all turns of the conversation.

    Raises:
        RefusedError: The policy does not know what the header says, or the service is not cleared for the result.
        UnavailableError: The service itself is not ready for the class it has by now.
    """
    known = _know(law, service)
    if header is None and not found:
        # Nobody asks for more than the service has: the answer is the same for every such request.
        if known.unasked is None:
            floor = Floor(f"service {service.full_name}", known.cleared)
            known.unasked = RequestClass(join_floors(law.lattice, [floor]), (floor,))
        return known.unasked
    cleared = known.cleared
    floors = [Floor(f"service {service.full_name}", cleared)]
    if header is not None:
        said = law.lattice.resolve_label(header.strip(), source=f"header {CLASS_HEADER}")
        floors.append(Floor(f"header {CLASS_HEADER}", said))
    said_alone = join_floors(law.lattice, floors)
    if not cleared.dominates(said_alone):
        why = f"the request is {said_alone} (header {CLASS_HEADER} says {floors[-1].value})"
        raise _above_service(service, cleared, said_alone, why=why)
    raised = explain(floor for floor in found if not said_alone.dominates(floor.value))
    return RequestClass(join_floors(law.lattice, [*floors, *found]), (*floors, *found), raised)


def is_cleared(law: Law, service: ServiceFacts, value: DataClass) -> bool:
    """Tell whether a service is cleared for a class by now.

    Raises:
        UnavailableError: It is not ready for the class it has itself.
    """
    return _know(law, service).cleared.dominates(value)


def check_cleared(law: Law, service: ServiceFacts, decided: RequestClass) -> None:
    """Refuse what was found to be above what the service is cleared for; asked after what the caller may send.

    Raises:
        RefusedError: ClassAboveService.
        UnavailableError: The service itself is not ready for the class it has by now.
    """
    cleared = _know(law, service).cleared
    if not cleared.dominates(decided.value):
        why = f"{decided.because}, which raises it to {decided.value}"
        raise _above_service(service, cleared, decided.value, why=why)


def _above_service(service: ServiceFacts, cleared: DataClass, wanted: DataClass, *, why: str) -> RefusedError:
    return RefusedError(
        Reason.CLASS_ABOVE_SERVICE,
        f"{why}; {service.full_name} is cleared for {cleared}. Choose a model of class {wanted}, or send less.",
    )


def _know(law: Law, service: ServiceFacts) -> _Known:
    """Return what a law says of a service; where it refuses, it is asked again the next time."""
    kept = law.known.get(id(service))
    if kept is not None and kept.service is service:
        return kept
    known = _Known(service, _resolve_cleared(law, service))
    if len(law.known) >= _MAX_KNOWN:
        law.known.clear()
    law.known[id(service)] = known
    return known


def _resolve_cleared(law: Law, service: ServiceFacts) -> DataClass:
    if service.cleared is None:
        raise not_ready(service, service.unmet or "its class is not decided yet")
    try:
        cleared = law.lattice.resolve(*service.cleared, source=f"status of {service.full_name}")
        asked = [law.lattice.resolve(level, names, source=source) for source, level, names in service.floors]
    except RefusedError as error:
        raise not_ready(service, error.message) from None
    for item in [*asked, law.lattice.unlabelled] if service.unlabelled else asked:
        if not cleared.dominates(item):
            raise not_ready(service, f"its class is being raised from {cleared} to {cleared.join(item)}")
    return cleared


def is_user(service: ServiceFacts, username: str, groups: Iterable[str]) -> bool:
    """Tell whether a service answers a caller: named by its spec, and where its key is guarded by the grants too."""
    if not service.users and service.granted is None:
        return True
    names = list_references(username, groups)
    named = names & service.users if service.users else names
    return bool(named) and (service.granted is None or bool(named & service.granted))


def check_user(service: ServiceFacts, username: str, groups: Iterable[str]) -> None:
    """Refuse a caller whom the service does not answer.

    Raises:
        RefusedError: NotAllowed.
    """
    if is_user(service, username, groups):
        return
    rule = (
        "spec.users" if service.granted is None else "spec.users, as far as owner and tenant of its model grant them,"
    )
    raise RefusedError(
        Reason.NOT_ALLOWED,
        f"{rule} of {service.full_name} names neither you ({username[:256]}) nor a group of yours; who answers for the "
        "service adds you, where it should be so",
    )


def check_opaque(law: Law, wanted: DataClass, images: int) -> None:
    """Refuse what nothing can examine, where the class does not allow it.

    Raises:
        RefusedError: OpaqueNotAllowed.
    """
    if images and rules_of(law.policy, wanted).opaque != "Allowed":
        raise RefusedError(
            Reason.OPAQUE_NOT_ALLOWED,
            f"the request holds {images} {'image' if images == 1 else 'images'}, which nothing examines, and its class "
            f"{wanted} does not allow what cannot be examined (opaque: Refused). Send text, or ask who answers for the "
            "policy.",
        )


def check_ready(service: ServiceFacts) -> None:
    """Refuse a service that does not serve or whose isolation is not proven.

    Raises:
        UnavailableError: With the reason and message of the condition that does not hold.
    """
    if service.unmet is not None:
        raise not_ready(service, service.unmet)


def not_ready(service: ServiceFacts, why: str) -> SekishoError:
    """Refuse for now: the model is there, and none of its pods may answer."""
    return UnavailableError(Reason.MODEL_NOT_READY, f"model {service.full_name} does not answer now: {why}")


def levels_that_grant(lattice: Lattice, wanted: DataClass) -> tuple[str, ...]:
    """Return the levels of which one must be granted: that of the class or any higher one, lowest first."""
    return lattice.levels[wanted.rank :]


def check_ceiling(lattice: Lattice, wanted: DataClass, ceiling: Ceiling, *, because: str | None = None) -> None:
    """Refuse a class that the caller's grants do not reach.

    Args:
        lattice: Of the policy in force.
        wanted: The class of the request.
        ceiling: What the caller is granted.
        because: What was found that raised the class, None where nothing was.

    Raises:
        RefusedError: ClassAboveCeiling, with both facts and what helps.
    """
    high_enough = ceiling.level is not None and lattice.levels.index(ceiling.level) >= wanted.rank
    if high_enough and ceiling.compartments >= wanted.compartments:
        return
    missing = [] if high_enough else [f"classificationlevels/{wanted.level}"]
    missing += [f"compartments/{name}" for name in sorted(wanted.compartments - ceiling.compartments)]
    lead = f"{because}, which raises it to {wanted}" if because else f"the request is {wanted}"
    advice = "Remove the item" if because else "Use a model of a lower class"
    held = "+".join([ceiling.level, *sorted(ceiling.compartments)]) if ceiling.level else "below every level"
    raise RefusedError(
        Reason.CLASS_ABOVE_CEILING,
        f"{lead}; your ceiling is {held}. {advice}, or ask the administrators "
        f'for the right to "use" {" and ".join(missing)} of inference.sekisho.dev.',
    )


def model_unknown(namespace: str, name: str) -> RefusedError:
    """Refuse a model that is not there, or not the caller's to know of: the two answers are the same."""
    return RefusedError(
        Reason.MODEL_UNKNOWN, f'there is no model "{namespace}/{name}" that you may use; GET /v1/models lists yours'
    )


def describe_floors(floors: Iterable[Floor]) -> list[str]:
    """Spell where a class came from, for the record."""
    return [f"{floor.source}: {floor.value}" for floor in floors]
