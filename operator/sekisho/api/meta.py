"""What all kinds share: the base model, bounded scalar types, quantities, selectors, classes and conditions.

A field's description becomes its documentation in the CRD, so it speaks to users of `kubectl explain`.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

# As many as fit into the label of a class beside a level: 63 characters, of which each takes two or more.
MAX_COMPARTMENTS = 31
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_ANY_QUANTITY = re.compile(
    r"\+?([0-9]{1,19}\.?[0-9]{0,19}|\.[0-9]{1,19})(?:([numkMGTPE]|[KMGTPE]i)|[eE](\+?[0-9]{1,2}|-[0-9]{1,2}))?"
)
_MOST = 2**63 - 1  # what the API server can count


class ApiModel(BaseModel):
    """Base of every API model: frozen, camelCase on the wire, unknown fields refused.

    Attributes:
        validations: CEL rules over the model, as the API server checks them; a validator here says each one again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)
    validations: ClassVar[list[dict[str, str]]] = []

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Carry the rules into the schema."""
        schema = handler(core_schema)
        if cls.validations:
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = cls.validations
        return schema


class StatusModel(ApiModel):
    """Base of what we publish; a newer version's extra fields are ignored, not refused."""

    model_config = ConfigDict(extra="ignore")


def parse_quantity(value: str | int) -> Decimal:
    """Parse a Kubernetes quantity ("4Gi", "500m", "2") into base units (bytes, cores, items).

    Raises:
        ValueError: The text is not a quantity, or is longer than 16 digits.
    """
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(f'"{str(value)[:40]}" is not a quantity such as 4Gi, 500m or 2')
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


def read_quantity(value: object) -> Decimal:
    """Read a quantity as the API server writes it in objects of others: also 1e3, 100n, 2E; see `parse_quantity`.

    Raises:
        ValueError: It is none, or negative.
    """
    match = _ANY_QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(f'"{str(value)[:40]}" is not a quantity')
    return Decimal(match[1]) * (Decimal(f"1e{match[3]}") if match[3] else _SUFFIXES[match[2] or ""])


def _check_quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("a quantity is a string such as 4Gi, or a whole number")
    if parse_quantity(value) > _MOST:
        raise ValueError(f'"{value}" is more than {_MOST}, the most that an amount may be')
    return str(value)


Quantity = Annotated[
    str,
    BeforeValidator(_check_quantity),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
            "maxLength": 32,
            "minimum": 0,
            "maximum": 10**15 - 1,
        }
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
Text = Annotated[str, Field(max_length=1024)]
ShortText = Annotated[str, Field(min_length=1, max_length=256)]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=316,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
ClassName = Annotated[str, Field(min_length=1, max_length=32, pattern=DNS_LABEL)]
Jurisdiction = Annotated[str, Field(min_length=2, max_length=8, pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,5})?$")]
Money = Annotated[str, Field(max_length=24, pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3)]
Pem = Annotated[
    str, Field(min_length=32, max_length=8192, pattern=r"^\s*-----BEGIN [A-Z ]+-----[\s\S]+-----END [A-Z ]+-----\s*$")
]
Timestamp = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]
# Compared letter by letter: "serviceaccount:legal:chat" is not one of "group:system:serviceaccounts:legal".
UserRef = Annotated[
    str,
    Field(
        min_length=6,
        max_length=336,
        pattern=r"^((group|user):[!-~]{1,253}"
        r"|serviceaccount:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?:[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)$",
    ),
]


def _check_instant(value: str) -> str:
    datetime.fromisoformat(value)
    return value


Expiry = Annotated[
    str,
    Field(
        max_length=20,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        json_schema_extra={"format": "date-time"},
    ),
    AfterValidator(_check_instant),
]
KmsName = Annotated[str, Field(min_length=1, max_length=64, pattern=DNS_LABEL)]


def keyed_list(*keys: str, max_items: int) -> dict[str, Any]:
    """Return the schema of a list that server-side apply merges by `keys`; at most `max_items` long."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys), "maxItems": max_items}


def require_name(*, most: int) -> dict[str, str]:
    """Return the rule that an object's name can be a label value, a host name and the start of its children's names."""
    return {
        "rule": f"self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= {most}",
        "message": f"the name must be at most {most} of a-z, 0-9 and -, begin with a letter and not end with -",
        "fieldPath": ".metadata.name",
    }


SET_LIST: dict[str, Any] = {"x-kubernetes-list-type": "set"}
ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}


class ClassRef(ApiModel):
    """A class of data: a level, and any compartments beside it."""

    level: ClassName = Field(description="Name of a level of the ClassificationPolicy.")
    compartments: tuple[ClassName, ...] = Field(
        default=(), max_length=MAX_COMPARTMENTS, description="Names of compartments of the ClassificationPolicy.",
        json_schema_extra=SET_LIST,
    )  # fmt: skip


class LabelExpression(ApiModel):
    """One requirement on a label, as in Kubernetes."""

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How key and values relate.")
    values: tuple[LabelValue, ...] = Field(
        default=(), max_length=32, description="Values for In and NotIn.", json_schema_extra=ATOMIC_LIST
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "message": "values belong to In and NotIn, which need at least one, and to no other operator",
        }
    ]

    @model_validator(mode="after")
    def _check_values(self) -> "LabelExpression":
        if (self.operator in ("In", "NotIn")) != bool(self.values):
            raise ValueError("values belong to In and NotIn, which need at least one, and to no other operator")
        return self


class LabelSelector(ApiModel):
    """Select by labels, as in Kubernetes; all requirements must hold."""

    match_labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that must have exactly these values."
    )
    match_expressions: tuple[LabelExpression, ...] = Field(
        default=(), max_length=16, description="Further requirements.", json_schema_extra=ATOMIC_LIST
    )


class ModelFormat(ApiModel):
    """Name the format of weights, with KServe's spelling."""

    name: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9][a-z0-9._-]*$")] = Field(
        description="Format of the weights, for example gguf, safetensors or onnx."
    )
    version: Annotated[str, Field(max_length=16)] | None = Field(
        default=None, description="Version of the format; absent means any."
    )


ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(StatusModel):
    """One aspect of an object's state; adjectives in positive polarity."""

    type: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="The aspect, for example Ready.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="One of a closed set of reasons.")
    message: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="The facts, with numbers and units, and what to do next."
    )
    observed_generation: int = Field(
        default=-1,
        ge=-1,
        description="The metadata.generation this condition speaks of.",
        json_schema_extra={"format": "int64"},
    )
    last_transition_time: Timestamp = Field(description="When status last changed.")


CONDITIONS = keyed_list("type", max_items=32)
