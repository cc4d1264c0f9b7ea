"""AccessPolicy: who may ask which models for what, how much, and what is taken out of the text first."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sekisho.api.meta import (
    CONDITIONS,
    SET_LIST,
    ApiModel,
    ClassName,
    ClassRef,
    Condition,
    Currency,
    Expiry,
    Money,
    Name,
    StatusModel,
    UserRef,
    require_name,
)

MAX_EXPRESSION = 1024
ModelPattern = Annotated[
    str,
    Field(
        min_length=3,
        max_length=127,
        pattern=r"^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/(\*|[a-z0-9][-a-z0-9]{0,62}\*?)$",
    ),
]
_ONE_OF = "a subject is either a user or a cel expression"
_NO_SPAN = "a budget of cost needs perDay, perMonth or both"


class Subject(ApiModel):
    """Who is meant: one of them by name, or whoever an expression is true for."""

    validations: ClassVar[list[dict[str, str]]] = [{"rule": "has(self.user) != has(self.cel)", "message": _ONE_OF}]
    user: UserRef | None = Field(default=None, description="group:NAME, user:NAME or serviceaccount:NAMESPACE:NAME.")
    cel: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)] | None = Field(
        default=None,
        description="Expression in CEL that must be true. It may use claims (of the verified token), user, groups, "
        "issuer and model, for example: 'legal' in groups && claims.email.endsWith('@example.test'). What "
        "cannot be computed, because a claim is missing for instance, is not true.",
    )

    @model_validator(mode="after")
    def _check_one(self) -> "Subject":
        if (self.user is None) == (self.cel is None):
            raise ValueError(_ONE_OF)
        return self


class CostBudget(ApiModel):
    """What may be spent on tokens, at the prices of the sites that answer (Site spec.models)."""

    validations: ClassVar[list[dict[str, str]]] = [
        {"rule": "has(self.perDay) || has(self.perMonth)", "message": _NO_SPAN},
    ]
    per_day: Money | None = Field(default=None, description="In a day (UTC).")
    per_month: Money | None = Field(default=None, description="In a calendar month (UTC).")
    currency: Currency = Field(
        default="USD", description="ISO 4217 code; a model without a price in it is not answered."
    )

    @model_validator(mode="after")
    def _check_span(self) -> "CostBudget":
        if self.per_day is None and self.per_month is None:
            raise ValueError(_NO_SPAN)
        return self


class Budgets(ApiModel):
    """How much may be asked for. Each replica of the gateway keeps its even share."""

    per: Literal["Caller", "Policy"] = Field(
        default="Caller", description="Whether every caller has these budgets, or all of the policy share them."
    )
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000, description="Requests in a minute.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Tokens of prompts and answers in a minute."
    )
    tokens_per_day: int | None = Field(
        default=None, ge=1, le=1_000_000_000_000, description="Tokens of prompts and answers in a day (UTC)."
    )
    cost: CostBudget | None = Field(default=None, description="What they may cost.")


class TenantDictionary(ApiModel):
    """What a namespace wants found in requests to its models, beside what the cluster's policy wants found."""

    words: tuple[Annotated[str, Field(min_length=2, max_length=64)], ...] = Field(
        default=(), max_length=200, json_schema_extra=SET_LIST,
        description="Words and phrases, found in any case and width.",
    )  # fmt: skip
    patterns: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        default=(), max_length=16, json_schema_extra=SET_LIST,
        description="Regular expressions of RE2, which match no empty text. While one cannot be compiled the policy's "
        "models answer nobody.",
    )  # fmt: skip


class AccessPolicySpec(ApiModel):
    """Who may ask which models.

    A model that a policy names answers only those whom one of the policies that name it lets in; RBAC decides first,
    and an AccessPolicy never opens what RBAC keeps shut.
    """

    subjects: tuple[Subject, ...] = Field(
        min_length=1, max_length=64, json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Who may ask; one of them is enough.",
    )  # fmt: skip
    models: tuple[ModelPattern, ...] = Field(
        min_length=1, max_length=64, json_schema_extra=SET_LIST,
        description="Models as namespace/name of their InferenceServices; * at the end stands for anything. The "
        "namespace is that of the policy. Policies of the operator's namespace may name any, and * for all.",
    )  # fmt: skip
    ceiling: ClassRef | None = Field(
        default=None,
        description="The highest class of requests: level, and every compartment that may be there. It only narrows "
        "what RBAC grants; left out: as far as that goes.",
    )
    sites: tuple[Name, ...] | None = Field(
        default=None, min_length=1, max_length=32, json_schema_extra=SET_LIST,
        description="Sites that may answer; left out: wherever the class may go.",
    )  # fmt: skip
    budgets: Budgets | None = Field(default=None, description="How much may be asked for; left out: no limit.")
    redact: tuple[ClassName, ...] = Field(
        default=(), max_length=32, json_schema_extra=SET_LIST,
        description="Categories taken out of requests before any model reads them, inside the closed network too; "
        "answers have them back. Words as in ClassificationPolicy.",
    )  # fmt: skip
    dictionary: TenantDictionary | None = Field(
        default=None,
        description="Words and patterns that count as custom in every request to its models, whoever asks, as long as "
        "the policy exists. They add to the cluster's dictionary. At most 4 policies with one may name a model.",
    )
    expires_at: Expiry | None = Field(default=None, description="When the policy lets nobody in any more, UTC.")
    suspended: bool = Field(default=False, description="Lets nobody in while true.")


class AccessPolicyStatus(StatusModel):
    """What the operator sees of the policy."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    summary: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Models and ceiling as people read them."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="Accepted and Ready."
    )


KIND: dict[str, Any] = {
    "kind": "AccessPolicy",
    "plural": "accesspolicies",
    "scope": "Namespaced",
    "shortNames": [],
    "spec": AccessPolicySpec,
    "status": AccessPolicyStatus,
    "description": "Who may ask which models, up to which class, at which sites, how much, and what is taken out of "
    "the text before. It narrows what RBAC grants.",
    "validations": [require_name(most=63)],
    "columns": [
        ("Models", "string", ".status.summary", "Models and ceiling"),
        ("Expires", "string", ".spec.expiresAt", "When it lets nobody in any more"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', ""),
        ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is, or is not, in force"),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
