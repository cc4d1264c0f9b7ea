"""From what the API server holds to what a plan reads: parsed once a generation, refused as a value."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from sekisho.api.v1alpha1.accesspolicy import AccessPolicySpec
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.model import ModelSpec
from sekisho.api.v1alpha1.runtime import RuntimeSpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.errors import Reason, Rejection
from sekisho.kube.resources import (
    ACCESS_POLICIES,
    DATA_GRANTS,
    EVIDENCE_POLICIES,
    INFERENCE_SERVICES,
    KEY_RELEASE_POLICIES,
    MODELS,
    POLICIES,
    RUNTIMES,
    SITES,
    Resource,
)
from sekisho.plan.world import (
    ClusterObject,
    DataGrantObject,
    EvidencePolicyObject,
    GrantObject,
    KeyReleaseObject,
    ModelObject,
    ServiceObject,
)

Raw = Mapping[str, Any]
SpecT = TypeVar("SpecT", bound=BaseModel)
_REASONS: Final[Mapping[Resource, Reason]] = {POLICIES: Reason.POLICY_INVALID}
_MOST_PROBLEMS: Final = 3
_ENDING: Final = (
    "it is being deleted and counts for nothing any more; where it stays, its metadata.finalizers keep it: take them "
    "off, and create it anew if it is to count"
)


class Reader:
    """Reads objects of our kinds; remembers the parsed spec of each until its generation changes."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[Resource, str], tuple[int, Any]] = {}

    def forget(self, resource: Resource, raw: Raw) -> None:
        """Drop what is remembered of an object that is gone."""
        self._parsed.pop((resource, _uid(raw)), None)

    def service(self, raw: Raw) -> ServiceObject:
        """Read an InferenceService."""
        meta = raw["metadata"]
        return ServiceObject(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=_uid(raw),
            generation=_generation(raw),
            labels=meta.get("labels") or {},
            spec=self.spec(INFERENCE_SERVICES, raw, InferenceServiceSpec),
            status=raw.get("status") or {},
            deleting="deletionTimestamp" in meta,
        )

    def model(self, raw: Raw) -> ModelObject:
        """Read a Model."""
        meta = raw["metadata"]
        return ModelObject(
            namespace=meta["namespace"],
            name=meta["name"],
            generation=_generation(raw),
            labels=meta.get("labels") or {},
            spec=self.spec(MODELS, raw, ModelSpec),
            status=raw.get("status") or {},
        )

    def policy(self, raw: Raw) -> ClusterObject[ClassificationPolicySpec]:
        """Read a ClassificationPolicy."""
        return self._cluster_object(raw, _standing(raw, self.spec(POLICIES, raw, ClassificationPolicySpec)))

    def site(self, raw: Raw) -> ClusterObject[SiteSpec]:
        """Read a Site."""
        return self._cluster_object(raw, _standing(raw, self.spec(SITES, raw, SiteSpec)))

    def runtime(self, raw: Raw) -> ClusterObject[RuntimeSpec]:
        """Read a Runtime."""
        return self._cluster_object(raw, self.spec(RUNTIMES, raw, RuntimeSpec))

    def evidence_policy(self, raw: Raw) -> EvidencePolicyObject:
        """Read an EvidencePolicy."""
        return self._cluster_object(raw, _standing(raw, self.spec(EVIDENCE_POLICIES, raw, EvidencePolicySpec)))

    def key_release(self, raw: Raw) -> KeyReleaseObject:
        """Read a KeyReleasePolicy."""
        return _grant_object(raw, _standing(raw, self.spec(KEY_RELEASE_POLICIES, raw, KeyReleasePolicySpec)))

    def data_grant(self, raw: Raw) -> DataGrantObject:
        """Read a DataGrant."""
        return _grant_object(raw, _standing(raw, self.spec(DATA_GRANTS, raw, DataGrantSpec)))

    def access_policy(self, raw: Raw) -> GrantObject[AccessPolicySpec]:
        """Read an AccessPolicy."""
        return _grant_object(raw, self.spec(ACCESS_POLICIES, raw, AccessPolicySpec))

    def spec(self, resource: Resource, raw: Raw, model: type[SpecT]) -> SpecT | Rejection:
        """Parse the spec, or say what is wrong with it."""
        key, generation = (resource, _uid(raw)), _generation(raw)
        known = self._parsed.get(key)
        if known is not None and known[0] == generation:
            parsed: SpecT | Rejection = known[1]
            return parsed
        parsed = _parse(resource, raw, model)
        self._parsed[key] = (generation, parsed)
        return parsed

    def _cluster_object(self, raw: Raw, spec: SpecT | Rejection) -> ClusterObject[SpecT]:
        return ClusterObject(raw["metadata"]["name"], _generation(raw), spec, raw.get("status") or {})


def _standing(raw: Raw, spec: SpecT | Rejection) -> SpecT | Rejection:
    """Return the spec while it counts: every process takes what is being deleted for gone, whatever keeps it."""
    return Rejection(Reason.TERMINATING, _ENDING) if "deletionTimestamp" in raw["metadata"] else spec


def _grant_object(raw: Raw, spec: SpecT | Rejection) -> GrantObject[SpecT]:
    meta = raw["metadata"]
    return GrantObject(meta["namespace"], meta["name"], _generation(raw), spec, raw.get("status") or {})


def _parse(resource: Resource, raw: Raw, model: type[SpecT]) -> SpecT | Rejection:
    try:
        return model.model_validate(raw.get("spec") or {})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        told = "; ".join(f"spec.{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems[:_MOST_PROBLEMS])
        more = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        detail = f"the spec cannot be read: {told}{more}; correct it and apply again"
        return Rejection(_REASONS.get(resource, Reason.INVALID_SPEC), detail[:1024])


def _uid(raw: Raw) -> str:
    return str(raw["metadata"].get("uid", ""))


def _generation(raw: Raw) -> int:
    return int(raw["metadata"].get("generation", 0))
