"""The Models and the policy as the API server shows them, and the one place where inspections are published."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from sekisho.api.names import API_VERSION, DEFAULT_POLICY_NAME, DEPOT_FIELD_MANAGER
from sekisho.api.v1alpha1.model import Inspection
from sekisho.depot.following import Following, Name, Raw
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError, ApiRefusedError
from sekisho.kube.resources import MODELS, POLICIES


class Register(Protocol):
    """What the inspector knows of Models, and where it publishes.

    Attributes:
        changed: Set when anything may have changed; the inspector clears it.
    """

    changed: asyncio.Event

    async def run(self) -> None:
        """Keep up until cancelled."""
        ...

    def models(self) -> Mapping[Name, Raw] | None:
        """Return all Models by namespace and name; None while they are not known."""
        ...

    def policy(self) -> Raw | None:
        """Return the ClassificationPolicy in force; None where there is none."""
        ...

    async def publish(self, name: Name, uid: str, found: Inspection) -> None:
        """Write what was found of the Model that has this uid; one that is gone is no matter."""
        ...


class KubeRegister:
    """The API server, followed by watches."""

    def __init__(self, client: KubeClient) -> None:
        self.changed = asyncio.Event()
        self._client = client
        self._models = Following(client, MODELS, changed=self.changed.set)
        self._policies = Following(client, POLICIES, changed=self.changed.set)

    async def run(self) -> None:
        """Follow Models and policies until cancelled."""
        await asyncio.gather(self._models.run(), self._policies.run())

    def models(self) -> Mapping[Name, Raw] | None:
        """Return all Models by namespace and name; None while they are not known."""
        return self._models.objects if self._models.is_known and self._policies.is_known else None

    def policy(self) -> Raw | None:
        """Return the ClassificationPolicy in force; None where there is none."""
        return self._policies.objects.get(("", DEFAULT_POLICY_NAME))

    async def publish(self, name: Name, uid: str, found: Inspection) -> None:
        """Apply `status.inspection` as the depot's own field; the uid keeps a namesake from being written."""
        namespace, model = name
        manifest = {
            "apiVersion": API_VERSION,
            "kind": MODELS.kind,
            "metadata": {"namespace": namespace, "name": model, "uid": uid},
            "status": {"inspection": found.model_dump(by_alias=True, exclude_none=True, mode="json")},
        }
        try:
            await self._client.apply(manifest, subresource="status", manager=DEPOT_FIELD_MANAGER)
        except ApiConflictError:
            return
        except ApiRefusedError as error:
            if error.status != 404:
                raise
