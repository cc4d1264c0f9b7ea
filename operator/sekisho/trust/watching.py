"""Nodes and the evidence policy as the API server shows them, and what this process itself has written since."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.errors import Reason, UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.reflecting import Freshness, Reflector
from sekisho.kube.resources import EVIDENCE_POLICIES, NODES
from sekisho.plan.evidence import read_evidence_policy
from sekisho.trust.judging import Rules
from sekisho.trust.nodes import TrustedNode, patch_node, read_node

_TIMES: Final = Freshness(watch_seconds=60, relist_seconds=600.0)


@dataclass(frozen=True, slots=True)
class _Seen:
    version: int
    node: TrustedNode


def _keep_node(raw: Mapping[str, Any]) -> _Seen:
    return _Seen(int((raw.get("metadata") or {}).get("resourceVersion") or 0), read_node(raw))


class WatchedNodes:
    """All nodes; what was written here is known here at once, before the watch shows it."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._written: dict[str, _Seen] = {}
        self.reflector: Reflector[_Seen] = Reflector(client, NODES, _keep_node, times=_TIMES)

    def find(self, name: str) -> TrustedNode | None:
        """Return a node as it was last seen or written."""
        seen = self.reflector.objects.get(("", name))
        return None if seen is None else self._latest(seen).node

    def all(self) -> tuple[TrustedNode, ...]:
        """Return every node as it was last seen or written."""
        return tuple(self._latest(seen).node for seen in self.reflector.objects.values())

    async def write(self, node: TrustedNode, patch: Mapping[str, Any]) -> None:
        """Patch labels and annotations of this very node."""
        stored = await patch_node(self._client, node, patch)
        self._written[node.name] = _keep_node(stored)

    def _latest(self, seen: _Seen) -> _Seen:
        written = self._written.get(seen.node.name)
        if written is None or written.node.uid != seen.node.uid or written.version <= seen.version:
            self._written.pop(seen.node.name, None)
            return seen
        return written


class WatchedPolicy:
    """The one EvidencePolicy that nodes must satisfy."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self._name = name
        self.reflector: Reflector[Mapping[str, Any]] = Reflector(
            client, EVIDENCE_POLICIES, lambda raw: dict(raw.get("spec") or {}), times=_TIMES
        )

    @property
    def is_there(self) -> bool:
        """Whether the policy was seen."""
        return ("", self._name) in self.reflector.objects

    def rules(self) -> Rules:
        """Return the policy as it stands; alternatives that name sites do not count, for a node is at none by itself.

        Raises:
            UnavailableError: PolicyMissing or PolicyInvalid.
            RefusedError: AppraisalFailed; no alternative counts.
        """
        spec = self.reflector.objects.get(("", self._name))
        if spec is None:
            raise UnavailableError(
                Reason.POLICY_MISSING,
                f'there is no EvidencePolicy "{self._name}" for nodes; an administrator applies it',
            )
        try:
            parsed = EvidencePolicySpec.model_validate(spec)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]["msg"]
            raise UnavailableError(Reason.POLICY_INVALID, f'EvidencePolicy "{self._name}": {first}') from error
        text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Rules(read_evidence_policy(self._name, parsed, site=""), f"sha256:{digest}")
