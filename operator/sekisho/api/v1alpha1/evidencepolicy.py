"""EvidencePolicy: which evidence of hardware and code is good enough, by reference values."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sekisho.api.meta import (
    CONDITIONS,
    SET_LIST,
    ApiModel,
    Condition,
    Digest,
    Name,
    ShortText,
    StatusModel,
    keyed_list,
    require_name,
)

EvidenceTee = Literal["snp", "tdx", "sgx", "nitro", "tpm", "nvidia-gpu", "nvidia-switch", "attestation-result"]
TcbStatusName = Literal[
    "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
    "OutOfDateConfigurationNeeded", "Unknown",
]  # fmt: skip
MEASURED = ("snp", "tdx", "sgx", "nitro")
Hex = Annotated[str, Field(min_length=40, max_length=128, pattern=r"^([0-9a-f]{2}){20,64}$")]
ChipId = Annotated[str, Field(min_length=16, max_length=128, pattern=r"^([0-9a-f]{2}){8,64}$")]
ClaimName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]

_NO_MEASUREMENT = "snp, tdx, sgx and nitro need measurements: without them any code on genuine hardware would do"
_NO_REFERENCE = (
    "evidence needs at least one of measurements, registers and facts: without them anything genuine would do"
)
_NO_TCB = "snp needs minimumTcb: nobody publishes a status of its firmware"
_BEHIND_ITSELF = "behind names another kind of evidence"


class RegisterRule(ApiModel):
    """What a further measurement register may hold."""

    name: ClaimName = Field(description="Register, for example rtmr1 or pcr4.")
    values: tuple[Hex, ...] = Field(
        min_length=1, max_length=32, description="Values that count, in hexadecimal.", json_schema_extra=SET_LIST
    )


class TcbRule(ApiModel):
    """The lowest security version of one component."""

    component: ClaimName = Field(
        description="Component in the vendor's words: bootloader, tee, snp, microcode, fmc. Where evidence tells the "
        "version also as committed and as of the launch, these must reach it too."
    )
    version: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(description="Lowest version that counts.")


class FactRule(ApiModel):
    """What a signed fact may say."""

    name: ClaimName = Field(description="Fact, for example product.")
    values: tuple[ShortText, ...] = Field(
        min_length=1, max_length=16, description="What it may say.", json_schema_extra=SET_LIST
    )


class EvidenceRule(ApiModel):
    """What all evidence of one kind must show; at least one piece of it must be there."""

    tee: EvidenceTee = Field(description="Kind of evidence.")
    behind: EvidenceTee | None = Field(
        default=None,
        description="The evidence comes inside evidence of this other kind, as the report behind a virtual tpm does.",
    )
    least: int = Field(default=1, ge=1, le=64, description="How many pieces, of as many different devices.")
    measurements: tuple[Hex, ...] = Field(
        default=(), max_length=64, json_schema_extra=SET_LIST,
        description="What may have been launched, in hexadecimal: SNP's measurement, TDX's MRTD, Nitro's PCR0, the "
        "digest of a TPM's PCRs. List the old and the new one during an upgrade.",
    )  # fmt: skip
    registers: tuple[RegisterRule, ...] = Field(
        default=(), max_length=32, json_schema_extra=keyed_list("name", max_items=32),
        description="What further registers may hold.",
    )  # fmt: skip
    configurations: tuple[Hex, ...] | None = Field(
        default=None, min_length=1, max_length=64, json_schema_extra=SET_LIST,
        description="Digests that the launcher may have set: SNP's host data, TDX's MRCONFIGID. Left out: "
        "any.",
    )  # fmt: skip
    minimum_tcb: tuple[TcbRule, ...] = Field(
        default=(), max_length=32, json_schema_extra=keyed_list("component", max_items=32),
        description="Lowest security versions.",
    )  # fmt: skip
    tcb_statuses: tuple[TcbStatusName, ...] | None = Field(
        default=None, min_length=1, max_length=7, json_schema_extra=SET_LIST,
        description="How the platform may stand by its vendor's word. Left out: UpToDate, and Unknown for kinds of "
        "which no vendor says anything (all but tdx and sgx). Revoked platforms are always refused.",
    )  # fmt: skip
    tolerated_advisories: tuple[ShortText, ...] = Field(
        default=(), max_length=64, json_schema_extra=SET_LIST,
        description="Security advisories that may stand open; any other one refuses.",
    )  # fmt: skip
    chips: tuple[ChipId, ...] | None = Field(
        default=None, min_length=1, max_length=1024, json_schema_extra=SET_LIST,
        description="Chips or devices by their id in hexadecimal; evidence that masks the id is refused then. Left "
        "out: any. Evidence alone does not tell where a machine stands.",
    )  # fmt: skip
    facts: tuple[FactRule, ...] = Field(
        default=(), max_length=32, json_schema_extra=keyed_list("name", max_items=32),
        description="What further signed facts must say. Unless named here, these are asked for: of tdx, migratable "
        "false, sept-ve-disable true and no mrservicetd; of nvidia-gpu and nvidia-switch, measurements matched.",
    )  # fmt: skip

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "!(self.tee in ['snp', 'tdx', 'sgx', 'nitro']) || "
            "(has(self.measurements) && size(self.measurements) > 0)",
            "message": _NO_MEASUREMENT,
        },
        {
            "rule": "(has(self.measurements) && size(self.measurements) > 0) || "
            "(has(self.registers) && size(self.registers) > 0) || (has(self.facts) && size(self.facts) > 0)",
            "message": _NO_REFERENCE,
        },
        {
            "rule": "self.tee != 'snp' || (has(self.minimumTcb) && size(self.minimumTcb) > 0)",
            "message": _NO_TCB,
        },
        {"rule": "!has(self.behind) || self.behind != self.tee", "message": _BEHIND_ITSELF, "fieldPath": ".behind"},
    ]

    @model_validator(mode="after")
    def _check_reference(self) -> "EvidenceRule":
        if self.tee in MEASURED and not self.measurements:
            raise ValueError(_NO_MEASUREMENT)
        if not (self.measurements or self.registers or self.facts):
            raise ValueError(_NO_REFERENCE)
        if self.tee == "snp" and not self.minimum_tcb:
            raise ValueError(_NO_TCB)
        if self.behind == self.tee:
            raise ValueError(_BEHIND_ITSELF)
        return self

    @model_validator(mode="after")
    def _check_keys(self) -> "EvidenceRule":
        for what, names in (
            ("registers", [item.name for item in self.registers]),
            ("minimumTcb", [item.component for item in self.minimum_tcb]),
            ("facts", [item.name for item in self.facts]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"names of {what} must differ")
        return self


class EvidenceAlternative(ApiModel):
    """One way to satisfy the policy: evidence of every kind that is listed."""

    name: Name = Field(description="Name of the alternative, for messages.")
    sites: tuple[Name, ...] | None = Field(
        default=None, min_length=1, max_length=32, json_schema_extra=SET_LIST,
        description="Sites whose machines this describes; elsewhere it does not count. Left out: any.",
    )  # fmt: skip
    evidence: tuple[EvidenceRule, ...] = Field(
        min_length=1, max_length=8, json_schema_extra=keyed_list("tee", max_items=8),
        description="Kinds of evidence, all of which are wanted.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_kinds(self) -> "EvidenceAlternative":
        if len({item.tee for item in self.evidence}) < len(self.evidence):
            raise ValueError("kinds of evidence must differ")
        return self


class EvidencePolicySpec(ApiModel):
    """Reference values for evidence; what is not listed is refused."""

    any_of: tuple[EvidenceAlternative, ...] = Field(
        min_length=1, max_length=16, json_schema_extra=keyed_list("name", max_items=16),
        description="Alternatives, one of which must hold. Whatever they say, these are refused: environments open to "
        "debugging, SNP reports of another VMPL than 0, measurements of nothing but zeros, evidence that rests on "
        "collateral which is not valid at the time.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_names(self) -> "EvidencePolicySpec":
        if len({item.name for item in self.any_of}) < len(self.any_of):
            raise ValueError("names of alternatives must differ")
        return self


class EvidencePolicyStatus(StatusModel):
    """What the operator made of the policy."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    kinds: Annotated[str, Field(max_length=600)] | None = Field(
        default=None, description="Alternatives as people read them: snp+nvidia-gpu or tdx."
    )
    digest: Digest | None = Field(default=None, description="Digest of the policy.")
    policies: int = Field(default=0, ge=0, description="KeyReleasePolicies and DataGrants that name it.")
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="State."
    )


KIND: dict[str, Any] = {
    "kind": "EvidencePolicy",
    "plural": "evidencepolicies",
    "scope": "Cluster",
    "shortNames": [],
    "spec": EvidencePolicySpec,
    "status": EvidencePolicyStatus,
    "description": "Says which evidence of hardware and code is good enough, by reference values, security versions "
    "and chips. A KeyReleasePolicy or a DataGrant names it.",
    "validations": [require_name(most=63)],
    "columns": [
        ("Evidence", "string", ".status.kinds", "Kinds of evidence, by alternative"),
        ("Policies", "integer", ".status.policies", "Policies and grants that name it"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
