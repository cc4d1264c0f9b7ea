"""Policies to test with: one that a house might have, and any that the API accepts."""

from hypothesis import strategies as st

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import DataClass, Lattice
from tests.unit.seal.signing import ed25519_key, pem_of


def build_signers(*names: str) -> list[dict[str, object]]:
    """Signers of these names, each with the key that tests make of it."""
    return [{"name": name, "publicKeys": [pem_of(ed25519_key(name))]} for name in names]


HOUSE = ClassificationPolicySpec.model_validate(
    {
        "unlabelled": "internal",
        "levels": [
            {
                "name": "public",
                "rules": {"tiers": ["Closed", "OwnCloud", "ManagedApi"], "burst": "Allowed", "log": "Metadata"},
            },
            {
                "name": "internal",
                "rules": {
                    "tiers": ["Closed", "OwnCloud"],
                    "jurisdictions": ["JP", "EU"],
                    "burst": "AfterRedaction",
                    "egress": "Declared",
                    "redact": ["person"],
                    "log": "Metadata",
                },
            },
            {
                "name": "confidential",
                "rules": {
                    "tenancy": "SharedByOwner",
                    "trust": {"anyOf": ["snp", "tdx"], "maxAgeSeconds": 600},
                    "weights": {"sealed": True, "signedBy": ["release"]},
                    "imagesByDigest": True,
                },
            },
        ],
        "compartments": [
            {"name": "gdpr", "rules": {"jurisdictions": ["EU", "CH"]}},
            {
                "name": "my-number",
                "detect": ["jp-my-number"],
                "rules": {
                    "jurisdictions": ["JP"],
                    "trust": {"devices": ["nvidia-cc"]},
                    "weights": {"scan": "Clean", "evaluated": ["safety"], "approvedBy": ["board"]},
                },
            },
        ],
        "signers": build_signers("release", "board"),
    }
)
HOUSE_LATTICE = Lattice.of(HOUSE)


def _subset(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=len(values))


def _rules() -> st.SearchStrategy[dict[str, object]]:
    trust = {
        "anyOf": _subset("tpm", "snp", "tdx"),
        "devices": _subset("nvidia-cc"),
        "maxAgeSeconds": st.integers(1, 9000),
    }
    weights = {
        "sealed": st.booleans(),
        "signedBy": _subset("a", "b"),
        "scan": st.sampled_from(["Clean", None]),
        "evaluated": _subset("e", "f"),
        "approvedBy": _subset("c", "d"),
    }
    return st.fixed_dictionaries(
        {},
        optional={
            "tiers": _subset("Closed", "OwnCloud", "ManagedApi"),
            "jurisdictions": _subset("JP", "EU", "DE", "DE-BY", "FR-NC", "US-CA"),
            "trust": st.fixed_dictionaries({}, optional=trust),
            "weights": st.fixed_dictionaries({}, optional=weights),
            "egress": st.sampled_from(["Denied", "Declared"]),
            "opaque": st.sampled_from(["Refused", "Allowed"]),
            "burst": st.sampled_from(["Never", "AfterRedaction", "Allowed"]),
            "redact": _subset("person", "address"),
            "tenancy": st.sampled_from(["Shared", "SharedByOwner", "Dedicated"]),
            "imagesByDigest": st.booleans(),
            "log": st.sampled_from(["Metadata", "Digest"]),
            "promptAttacks": st.sampled_from(["Off", "Record", "Refuse"]),
            "answers": st.fixed_dictionaries(
                {
                    "examine": st.sampled_from(["Off", "Windowed", "Held"]),
                    "detect": st.sampled_from([["card"], ["email"], ["card", "person"]]),
                    "found": st.sampled_from(["Mask", "End"]),
                }
            ),
        },
    )


@st.composite
def policies(draw: st.DrawFn) -> ClassificationPolicySpec:
    """Any policy of up to four levels and three compartments."""
    levels = [f"l{index}" for index in range(draw(st.integers(1, 4)))]
    compartments = [f"c{index}" for index in range(draw(st.integers(0, 3)))]
    return ClassificationPolicySpec.model_validate(
        {
            "unlabelled": draw(st.sampled_from(levels)),
            "levels": [{"name": name, "rules": draw(_rules())} for name in levels],
            "compartments": [{"name": name, "rules": draw(_rules())} for name in compartments],
            "signers": build_signers("a", "b", "c", "d"),
        }
    )


def classes(lattice: Lattice) -> st.SearchStrategy[DataClass]:
    """Any class of a lattice."""
    levels = st.sampled_from(lattice.levels)
    names = sorted(lattice.compartments)
    chosen = st.frozensets(st.sampled_from(names)) if names else st.just(frozenset[str]())
    return st.builds(lambda level, held: lattice.resolve(level, held, source="test"), levels, chosen)
