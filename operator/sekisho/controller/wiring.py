"""kopf as the event pump of our own kinds, nodes and namespaces: it lists, watches and reconnects, no more.

It writes nothing: no annotations, no finalizers, no events, no peering. What an event holds goes into the stores; what
is done about it is decided elsewhere.
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any, Final

import kopf

from sekisho.controller.cluster import PUMPED
from sekisho.controller.following import Shown
from sekisho.controller.settings import Settings
from sekisho.kube.credentials import Credentials
from sekisho.kube.resources import Resource

# kopf gives up, and with it the process, after the last of them; an API server may be away for longer than a minute.
_BACK_OFFS: Final = (1, 2, 3, 5, 8, 13, *([20] * 180))


class _NoDiffs(kopf.DiffBaseStorage):  # type: ignore[misc]
    """Keep no copy of any object, neither in the cluster nor for a comparison that nobody asks for."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):  # type: ignore[misc]
    """Keep no progress of handlers: there are none that could be half done."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def configure(settings: Settings) -> kopf.OperatorSettings:
    """Return kopf's settings: nothing posted, nothing stored, every stream bounded in time."""
    configured = kopf.OperatorSettings()
    configured.posting.enabled = False
    configured.scanning.disabled = True
    configured.peering.standalone = True
    configured.persistence.diffbase_storage = _NoDiffs()
    configured.persistence.progress_storage = _NoProgress()
    configured.queueing.idle_timeout = 1.0
    configured.watching.server_timeout = settings.watch_server_seconds
    configured.watching.inactivity_timeout = settings.watch_inactivity_seconds
    configured.watching.connect_timeout = 10.0
    configured.watching.chunk_size = 500
    configured.networking.request_timeout = 60.0
    configured.networking.connect_timeout = 10.0
    configured.networking.error_backoffs = _BACK_OFFS
    configured.process.ultimate_exiting_timeout = 10.0
    return configured


def register(credentials: Credentials, shown: Shown) -> kopf.OperatorRegistry:
    """Return a registry whose only handlers hand every event of every kind that is pumped to `shown`."""
    registry = kopf.OperatorRegistry()

    def login(**_: Any) -> kopf.ConnectionInfo:
        return connect(credentials)

    kopf.on.login(registry=registry)(login)
    for resource in PUMPED:
        _listen(registry, resource, shown)
    return registry


def _listen(registry: kopf.OperatorRegistry, resource: Resource, shown: Shown) -> None:
    async def on_event(event: Mapping[str, Any], **_: Any) -> None:
        shown(resource, event["type"], event["object"])

    kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)(on_event)


def connect(credentials: Credentials) -> kopf.ConnectionInfo:
    """Return our credentials as kopf wants them; asked again whenever the API server refuses them."""
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_data=_encode(credentials.ca_pem),
        token=credentials.read_token(fresh=True) or None,
        certificate_data=_encode(credentials.certificate_pem),
        private_key_data=_encode(credentials.key_pem),
    )


def _encode(pem: str) -> str | None:
    return base64.b64encode(pem.encode()).decode() if pem else None


async def pump(registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, *, stop: asyncio.Event) -> None:
    """Watch until `stop` is set or a signal ends the process; raises what kopf could not recover from."""
    await kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop)
