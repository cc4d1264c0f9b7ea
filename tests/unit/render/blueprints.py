"""Blueprints to render; each test changes the one fact it speaks of."""

from dataclasses import replace
from typing import Any

from sekisho.api.v1alpha1.inferenceservice import Predictor
from sekisho.classify.lattice import DataClass
from sekisho.placement.requirement import Requirement
from sekisho.render.blueprint import Blueprint
from sekisho.render.estimate import estimate_needs
from sekisho.render.settings import ReleaseAddress, SealedFacts
from sekisho.render.storage import parse_storage_uri
from tests.unit.plan.worlds import SETTINGS, SITE_KEY, build_runtime

SITE_TERM = (Requirement(SITE_KEY, "In", ("tokyo",)),)


RELEASED = replace(
    SETTINGS, release=ReleaseAddress("10.96.0.50", "sekisho-unsafe-development-release", "unsafe-release")
)
SEALED = SealedFacts(
    manifest_digest=f"sha256:{'a' * 64}",
    model="legal/reviewer",
    version=7,
    data_class="confidential+gdpr",
    kms="unsafe-development",
    key_id="owner",
    key_version="1",
)


def build_predictor(**changes: Any) -> Predictor:
    return Predictor.model_validate({"model": {"modelRef": {"name": "smollm2"}}, **changes})


def build_blueprint(**changes: Any) -> Blueprint:
    predictor = changes.get("predictor") or build_predictor()
    runtime = changes.get("runtime") or build_runtime()
    blueprint = Blueprint(
        namespace="legal",
        name="review",
        uid="uid-1",
        data_class=DataClass(2, "confidential", frozenset({"gdpr"})),
        site="tokyo-closed",
        predictor=predictor,
        runtime=runtime,
        storage=parse_storage_uri("oci://registry.example:5000/models/smollm2:1"),
        size_bytes=110_000_000,
        needs=estimate_needs(predictor, runtime, memory=None, size_bytes=110_000_000),
        replicas=2,
        terms=(SITE_TERM,),
        egress=(),
        tenancy="Shared",
        in_memory=False,
        by_digest=False,
        agent_image=SETTINGS.agent_image,
        settings=SETTINGS,
    )
    return replace(blueprint, **changes)
