"""What the gateway knows of the cluster: lists and watches, and how old that knowledge is.

Knowledge that was not confirmed for too long is not used.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import ValidationError

from sekisho.access.costs import Rates, find_rates, read_rates
from sekisho.access.policies import Policy, read_policy
from sekisho.api.names import DEFAULT_POLICY_NAME
from sekisho.api.v1alpha1.site import SiteModel
from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.decide import Law, ServiceFacts, read_law, read_service
from sekisho.kube.client import KubeClient
from sekisho.kube.reflecting import Freshness, Reflector
from sekisho.kube.resources import ACCESS_POLICIES, INFERENCE_SERVICES, POLICIES, RUNTIMES, SITES
from sekisho.redact.detect import Tagger
from sekisho.render.digest import digest_of

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """One Site as the gateway knows it.

    Attributes:
        rates: What tokens cost there, by the pattern of the model's name.
    """

    tier: str
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
    return SiteFacts(str(spec.get("tier") or ""), rates)


def _keep_port(raw: Raw) -> int:
    return int((raw.get("spec") or {}).get("port") or 8080)


class Facts:
    """Services, the law, ports and sites, as of now; refuses to answer where it does not know how things are now.

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
        self._runtimes = Reflector(client, RUNTIMES, _keep_port, times=times)
        self._sites = Reflector(client, SITES, read_site, times=times)
        keep = partial(read_policy, system_namespace=namespace)
        self._access_policies = Reflector(client, ACCESS_POLICIES, keep, times=times)

    @property
    def _reflectors(self) -> tuple[Reflector[Any], ...]:
        return self._services, self._policies, self._runtimes, self._sites, self._access_policies

    @property
    def access_policies(self) -> Sequence[Policy]:
        """AccessPolicies, those too that let nobody in."""
        self.check_fresh()
        return tuple(self._access_policies.objects.values())

    async def run(self) -> None:
        """Keep everything fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    def age_seconds(self) -> float:
        """Return the age of the oldest knowledge."""
        return time.monotonic() - min(item.heard_at for item in self._reflectors)

    def _keep_policy(self, raw: Raw) -> Law | UnavailableError:
        try:
            spec = raw.get("spec") or {}
            return read_law(spec, digest_of(spec), self._names)
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
                f'there is no ClassificationPolicy "{DEFAULT_POLICY_NAME}"; without one nothing is relayed',
            )
        if isinstance(law, UnavailableError):
            raise UnavailableError(law.reason, law.message)
        return law

    @property
    def ports(self) -> Mapping[str, int]:
        """Port of each Runtime."""
        return {name: port for (_, name), port in self._runtimes.objects.items()}

    def tier_of(self, service: ServiceFacts) -> str | None:
        """Return the tier of the site that a service was placed at, None where that is not known."""
        site = self._sites.objects.get(("", service.site))
        return site.tier or None if site is not None else None

    def rates_of(self, service: ServiceFacts) -> Rates | None:
        """Return what tokens of a service cost where it was placed, None where nobody says."""
        site = self._sites.objects.get(("", service.site))
        return find_rates(site.rates, service.full_name) if site is not None else None

    def find(self, namespace: str, name: str) -> ServiceFacts | None:
        """Return a service; None where there is none."""
        self.check_fresh()
        return self._services.objects.get((namespace, name))

    def services(self) -> Iterator[ServiceFacts]:
        """Yield every service, sorted by namespace and name."""
        self.check_fresh()
        yield from (service for _, service in sorted(self._services.objects.items()))
