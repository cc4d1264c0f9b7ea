"""What the gateway knows of the cluster: lists and watches, and how old that knowledge is.

Knowledge that was not confirmed for too long is not used.
"""

import asyncio
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Final

from pydantic import ValidationError

from sekisho.access.costs import Rates, find_rates, read_rates
from sekisho.access.policies import Policy, read_policy
from sekisho.api.names import DEFAULT_POLICY_NAME, SERVICE_LABEL
from sekisho.api.v1alpha1.site import SiteModel
from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.choosing.filtering import Place
from sekisho.gateway.choosing.replicas import Replica, read_proofs, read_replica
from sekisho.gateway.decide import Law, ServiceFacts, read_law, read_service
from sekisho.kernel import read_boot_seconds
from sekisho.kube.client import KubeClient
from sekisho.kube.reflecting import Freshness, Reflector
from sekisho.kube.resources import ACCESS_POLICIES, INFERENCE_SERVICES, NODES, PODS, POLICIES, RUNTIMES, SITES
from sekisho.redact.detect import Tagger
from sekisho.render.digest import digest_of

Raw = Mapping[str, Any]
_heard_at: Final = attrgetter("heard_at")
_ENDING: Final = (
    f'ClassificationPolicy "{DEFAULT_POLICY_NAME}" is being deleted, and without one nothing is relayed; an '
    "administrator creates it anew once its metadata.finalizers let it go"
)


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """One Site as the gateway knows it.

    Attributes:
        place: Its tier and jurisdiction.
        rates: What tokens cost there, by the pattern of the model's name.
    """

    place: Place
    rates: Mapping[str, Rates] = field(default_factory=dict)


def read_site(raw: Raw) -> SiteFacts:
    """Read what counts of a Site; a price that cannot be read is none."""
    spec = raw.get("spec") or {}
    rates = {}
    for item in spec.get("models") or ():
        try:
            model = SiteModel.model_validate(item)
        except ValidationError:
            continue
        if model.price is not None:
            rates[model.name] = read_rates(model.price)
    return SiteFacts(Place(str(spec.get("tier") or ""), str(spec.get("jurisdiction") or "")), rates)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where an engine tells its load.

    Attributes:
        dialect: Whose names it uses; "none" where it tells nothing.
    """

    path: str
    dialect: str


def _keep_metrics(raw: Raw) -> Metrics:
    said = (raw.get("spec") or {}).get("metrics") or {}
    return Metrics(str(said.get("path") or "/metrics"), str(said.get("dialect") or "none"))


def _group_replica(replica: Replica) -> tuple[str, str]:
    return replica.namespace, replica.service


class Facts:
    """Services, their pods, the law, sites and what nodes have proven; refuses where it does not know them as of now.

    Args:
        client: Of the API server.
        times: How old knowledge may be.
        names: What knows names of people and places; None: policies that need it are not held to, and nothing relayed.
        namespace: Of the installation; AccessPolicies there may name every model.
    """

    def __init__(
        self, client: KubeClient, times: Freshness, names: Tagger | None = None, *, namespace: str = "sekisho-system"
    ) -> None:
        self._times = times
        self._names = names
        self._services = Reflector(client, INFERENCE_SERVICES, read_service, times=times)
        self._policies = Reflector(client, POLICIES, self._keep_policy, times=times)
        self._runtimes = Reflector(client, RUNTIMES, _keep_metrics, times=times)
        self._sites = Reflector(client, SITES, read_site, times=times)
        self._nodes = Reflector(client, NODES, read_proofs, times=times)
        self._pods = Reflector(client, PODS, read_replica, times=times, selector=SERVICE_LABEL, group=_group_replica)
        keep = partial(read_policy, system_namespace=namespace)
        self._access_policies = Reflector(client, ACCESS_POLICIES, keep, times=times)
        self._listed: tuple[int, tuple[Policy, ...]] = 0, ()
        self._reflectors: tuple[Reflector[Any], ...] = (
            self._services, self._policies, self._runtimes, self._sites, self._access_policies, self._nodes, self._pods,
        )  # fmt: skip

    @property
    def access_policies(self) -> Sequence[Policy]:
        """AccessPolicies, those too that let nobody in."""
        self.check_fresh()
        if (changes := self._access_policies.changes) != self._listed[0]:
            self._listed = changes, tuple(self._access_policies.objects.values())
        return self._listed[1]

    async def run(self) -> None:
        """Keep everything fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    def age_seconds(self) -> float:
        """Return the age of the oldest knowledge."""
        oldest: float = min(map(_heard_at, self._reflectors))
        return read_boot_seconds() - oldest

    def _keep_policy(self, raw: Raw) -> Law | UnavailableError:
        if raw["metadata"].get("deletionTimestamp"):
            return UnavailableError(Reason.POLICY_MISSING, _ENDING)
        try:
            spec = raw.get("spec") or {}
            return read_law(spec, digest_of(spec), self._names, key=os.urandom(32))
        except UnavailableError as error:
            return error

    def check_fresh(self) -> None:
        """Refuse to go on where knowledge is too old.

        Raises:
            UnavailableError: ApiUnavailable.
        """
        age, most = self.age_seconds(), self._times.max_age_seconds
        if age > most:
            known = "nothing is known of the cluster yet" if age == float("inf") else f"is {age:.0f} s old"
            raise UnavailableError(
                Reason.API_UNAVAILABLE,
                f"what the gateway knows of the cluster {known}, {most:.0f} s allowed: the API server is not heard"
                if age != float("inf")
                else known,
            )

    @property
    def law(self) -> Law:
        """The policy in force.

        Raises:
            UnavailableError: There is none, or it cannot be read.
        """
        self.check_fresh()
        law = self._policies.objects.get(("", DEFAULT_POLICY_NAME))
        if law is None:
            raise UnavailableError(
                Reason.POLICY_MISSING,
                f'there is no ClassificationPolicy "{DEFAULT_POLICY_NAME}", and without one nothing is relayed; an '
                "administrator creates it",
            )
        if isinstance(law, UnavailableError):
            raise UnavailableError(law.reason, law.message)
        return law

    def metrics_of(self, runtime: str) -> Metrics | None:
        """Return where engines of a Runtime tell their load; None where there is no such Runtime."""
        return self._runtimes.objects.get(("", runtime))

    def place_of(self, site: str) -> Place:
        """Return what is known of a site; nothing where there is none of that name."""
        found = self._sites.objects.get(("", site))
        return Place() if found is None else found.place

    def rates_of(self, service: ServiceFacts) -> Rates | None:
        """Return what tokens of a service cost where it was placed, None where nobody says."""
        site = self._sites.objects.get(("", service.site))
        return find_rates(site.rates, service.full_name) if site is not None else None

    def proofs_of(self, node: str) -> Mapping[str, int]:
        """Return what hardware trust a node has proven, and when."""
        return self._nodes.objects.get(("", node)) or {}

    def replicas_of(self, namespace: str, service: str) -> Collection[Replica]:
        """Return the pods of a service."""
        self.check_fresh()
        return self._pods.of_group((namespace, service)).values()

    def find(self, namespace: str, name: str) -> ServiceFacts | None:
        """Return a service; None where there is none."""
        self.check_fresh()
        return self._services.objects.get((namespace, name))

    def services(self) -> Iterator[ServiceFacts]:
        """Yield every service, sorted by namespace and name."""
        self.check_fresh()
        yield from (service for _, service in sorted(self._services.objects.items()))
