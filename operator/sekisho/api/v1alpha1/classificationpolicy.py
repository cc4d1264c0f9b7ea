"""ClassificationPolicy: what each class of data may do. One object named "default" rules the cluster."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from sekisho.api.meta import (
    ATOMIC_LIST,
    CONDITIONS,
    SET_LIST,
    ApiModel,
    ClassName,
    Condition,
    Jurisdiction,
    KmsName,
    Name,
    Pem,
    ShortText,
    StatusModel,
    keyed_list,
)

Tier = Literal["Closed", "OwnCloud", "ManagedApi"]
Tee = Literal["tpm", "snp", "tdx"]
DeviceTrust = Literal["nvidia-cc"]
Burst = Literal["Never", "AfterRedaction", "Allowed"]
Egress = Literal["Denied", "Declared"]
Tenancy = Literal["Shared", "SharedByOwner", "Dedicated"]
Opaque = Literal["Refused", "Allowed"]
LogDetail = Literal["Metadata", "Digest"]
ScanResult = Literal["Clean"]
PromptAttacks = Literal["Off", "Record", "Refuse"]
Examination = Literal["Off", "Windowed", "Held"]
Found = Literal["Mask", "End"]
Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


class TrustRule(ApiModel):
    """Hardware trust that a node must have proven."""

    any_of: tuple[Tee, ...] = Field(
        default=(), max_length=3, description="The node must have proven at least one of these; empty asks for none.",
        json_schema_extra=SET_LIST,
    )  # fmt: skip
    devices: tuple[DeviceTrust, ...] = Field(
        default=(), max_length=4, description="Device attestations that are wanted in addition, all of them.",
        json_schema_extra=SET_LIST,
    )  # fmt: skip
    max_age_seconds: int = Field(
        default=3600, ge=1, le=31536000, description="Oldest proof that still counts, in seconds."
    )


class WeightsRule(ApiModel):
    """What the weights of a model must be before they may serve this class."""

    sealed: bool = Field(default=False, description="Only weights sealed under a wrapped key may be loaded.")
    signed_by: tuple[Name, ...] = Field(
        default=(), max_length=8, json_schema_extra=SET_LIST,
        description="Names of spec.signers, all of which must have signed the sealed manifest.",
    )  # fmt: skip
    scan: ScanResult | None = Field(
        default=None, description="Result that the scan must have had which is signed into the sealed manifest."
    )
    evaluated: tuple[ShortText, ...] = Field(
        default=(), max_length=8, json_schema_extra=SET_LIST,
        description="Names of evaluations, all of which must be signed into the sealed manifest with their figures.",
    )  # fmt: skip
    approved_by: tuple[Name, ...] = Field(
        default=(), max_length=8, json_schema_extra=SET_LIST,
        description="Names of spec.signers, all of which must have signed an approval in the Model's spec.approvals.",
    )  # fmt: skip


class AnswersRule(ApiModel):
    """What is looked for in what a model says, before a caller sees it."""

    examine: Examination = Field(
        default="Off",
        description="Windowed: some hundred characters of a stream are held back and looked into. Held: nothing of an "
        "answer is sent before all of it was looked into. Off: answers pass.",
    )
    detect: tuple[Word, ...] = Field(
        default=(), max_length=32, description="Categories that must not stand in answers.", json_schema_extra=SET_LIST
    )
    found: Found = Field(
        default="Mask", description="Mask: what is found is taken out. End: the answer ends with an error."
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "!has(self.examine) || self.examine == 'Off' || (has(self.detect) && size(self.detect) > 0)",
            "message": "detect must name what is looked for in answers",
        }
    ]

    @model_validator(mode="after")
    def _check_detect(self) -> "AnswersRule":
        if self.examine != "Off" and not self.detect:
            raise ValueError("detect must name what is looked for in answers")
        return self


class Rules(ApiModel):
    """What a class may do. A field left out takes its default in a level, and adds nothing in a compartment."""

    tiers: tuple[Tier, ...] | None = Field(
        default=None, max_length=3, json_schema_extra=SET_LIST,
        description="Tiers of sites where inference may run; an empty list allows none. A level that leaves it out "
        "allows Closed only.",
    )  # fmt: skip
    jurisdictions: tuple[Jurisdiction, ...] | None = Field(
        default=None, max_length=64, json_schema_extra=SET_LIST,
        description="Jurisdictions of sites, ISO 3166 codes or EU; an empty list allows none. Left out: any.",
    )  # fmt: skip
    trust: TrustRule | None = Field(default=None, description="Hardware trust wanted of nodes. Left out: none.")
    weights: WeightsRule | None = Field(default=None, description="What weights must be. Left out: no demand.")
    egress: Egress | None = Field(
        default=None,
        description="Denied: a model's pod reaches the depot and the broker, nothing else (the default). Declared: "
        "also what the service lists in spec.egress.",
    )
    burst: Burst | None = Field(default=None, description="Whether requests may leave own sites. Default Never.")
    redact: tuple[Word, ...] | None = Field(
        default=None, max_length=32, description="Categories removed from a request before it may leave.",
        json_schema_extra=SET_LIST,
    )  # fmt: skip
    tenancy: Tenancy | None = Field(
        default=None,
        description="Shared: nodes may run pods of anyone (the default). SharedByOwner: only services of the same "
        "namespace share a node. Dedicated: the node runs no other service's pods.",
    )
    images_by_digest: bool | None = Field(
        default=None, description="Every image of the pod must be named by digest. Default false."
    )
    opaque: Opaque | None = Field(
        default=None,
        description="Whether a request may hold what nothing can examine, such as images. Refused: it may not (the "
        "default). Allowed: it goes on as it is, to a model that can read it.",
    )
    log: LogDetail | None = Field(
        default=None, description="What the record of a request holds besides its digest. Default Digest."
    )
    prompt_attacks: PromptAttacks | None = Field(
        default=None,
        description="What happens to a request that looks like an attack on the model's instructions. Record: its "
        "record says so (the default). Refuse: it is refused too. Off: nobody looks.",
    )
    answers: AnswersRule | None = Field(default=None, description="What is looked for in answers. Left out: nothing.")


class Level(ApiModel):
    """One level of the order."""

    name: ClassName = Field(description="Name of the level, as labels spell it.")
    detect: tuple[Word, ...] = Field(
        default=(), max_length=32, description="Kinds of items whose presence in a request raises it to this level.",
        json_schema_extra=SET_LIST,
    )  # fmt: skip
    rules: Rules = Field(default_factory=Rules, description="What the level may do, within what lower ones may.")


class Compartment(ApiModel):
    """A set beside the levels; it may only make rules stricter."""

    name: ClassName = Field(description="Name of the compartment, as labels spell it.")
    detect: tuple[Word, ...] = Field(
        default=(), max_length=32, description="Kinds of items whose presence in a request adds this compartment.",
        json_schema_extra=SET_LIST,
    )  # fmt: skip
    rules: Rules = Field(default_factory=Rules, description="Rules that are joined with the level's, strictest wins.")


class Authority(ApiModel):
    """Who may sign with a certificate: roots, and the subjects that they vouch for."""

    certificates: tuple[Pem, ...] = Field(
        min_length=1, max_length=4, json_schema_extra=ATOMIC_LIST,
        description="Certificates of the roots that a signer's chain must end at, one in PEM each.",
    )  # fmt: skip
    subjects: tuple[ShortText, ...] = Field(
        min_length=1, max_length=8, json_schema_extra=SET_LIST,
        description="Subjects that count, compared as a whole: a distinguished name (CN=release,O=Example), or a "
        "subject alternative name as email:…, uri:… or dns:…. Any other certificate of these roots is refused.",
    )  # fmt: skip


class Signer(ApiModel):
    """Somebody whose signature counts, under the name that rules give them."""

    name: Name = Field(description="Name that weights.signedBy, weights.approvedBy and approvals use.")
    public_keys: tuple[Pem, ...] = Field(
        default=(), max_length=4, json_schema_extra=ATOMIC_LIST,
        description="Public keys (Ed25519 or ECDSA) in PEM; a signature by any of them is theirs.",
    )  # fmt: skip
    authorities: tuple[Authority, ...] = Field(
        default=(), max_length=4, json_schema_extra=ATOMIC_LIST,
        description="Certificates whose holders sign for this signer; checked offline against these roots alone.",
    )  # fmt: skip

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "(has(self.publicKeys) && size(self.publicKeys) > 0) || "
            "(has(self.authorities) && size(self.authorities) > 0)",
            "message": "a signer needs at least one of publicKeys and authorities",
        }
    ]

    @model_validator(mode="after")
    def _check_any(self) -> "Signer":
        if not self.public_keys and not self.authorities:
            raise ValueError("a signer needs at least one of publicKeys and authorities")
        return self


KeyPattern = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-)+-~]+\*?$|^\*$")]


class KeyOwner(ApiModel):
    """Whose KeyReleasePolicies may release which keys."""

    namespace: Name = Field(description="Namespace of the owner's KeyReleasePolicies.")
    kms: KmsName = Field(description="Key service: openbao, pkcs11, aws, gcp, azure.")
    key_ids: tuple[KeyPattern, ...] = Field(
        min_length=1, max_length=32, json_schema_extra=SET_LIST,
        description="Keys there, by name; a * at the end stands for any rest, as in transit/legal-*.",
    )  # fmt: skip


def _signers_are_known(group: str) -> dict[str, str]:
    """Return the rule that every signer that the rules of a group name is one of spec.signers."""
    known = "(has(self.signers) && self.signers.exists(s, s.name == n))"
    weights = "!has(g.rules) || !has(g.rules.weights)"
    named = " && ".join(
        f"(!has(g.rules.weights.{field}) || g.rules.weights.{field}.all(n, {known}))"
        for field in ("signedBy", "approvedBy")
    )
    return {
        "rule": f"!has(self.{group}) || self.{group}.all(g, {weights} || ({named}))",
        "message": f"weights.signedBy and weights.approvedBy of {group} must name signers of spec.signers",
        "fieldPath": f".{group}",
    }


# What detect and redact may name: the categories that can be found, and their groups.
WORDS: Final = (
    "address", "bank-account", "card", "contact", "custom", "email", "government-id", "iban", "ip-address",
    "jp-address", "jp-corporate-number", "jp-drivers-licence", "jp-health-insurance", "jp-my-number", "jp-passport",
    "jp-pension-number", "jp-postal-code", "jp-residence-card", "location", "name", "network", "organisation-id",
    "payment", "person", "phone", "place", "secret", "secret-key", "us-ssn",
)  # fmt: skip


def _words_are_known(group: str) -> dict[str, str]:
    """Return the rule that what a group's rules detect and redact is something that can be found."""
    known = f"[{', '.join(repr(word) for word in WORDS)}]"
    places = {
        "g.detect": "has(g.detect)",
        "g.rules.redact": "has(g.rules) && has(g.rules.redact)",
        "g.rules.answers.detect": "has(g.rules) && has(g.rules.answers) && has(g.rules.answers.detect)",
    }
    checks = [f"(!({present}) || {field}.all(w, w in {known}))" for field, present in places.items()]
    return {
        "rule": f"!has(self.{group}) || self.{group}.all(g, {' && '.join(checks)})",
        "message": f"detect and redact of {group} must name categories or groups of items that can be found; "
        "docs/reference/redaction.md lists them",
        "fieldPath": f".{group}",
    }


class Dictionary(ApiModel):
    """What the organisation itself wants found, beside what is known everywhere: the category custom."""

    words: tuple[Annotated[str, Field(min_length=2, max_length=256)], ...] = Field(
        default=(), max_length=1000, json_schema_extra=SET_LIST,
        description="Words and phrases, found in any case and width: names of projects and customers.",
    )  # fmt: skip
    patterns: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        default=(), max_length=64, json_schema_extra=SET_LIST,
        description="Regular expressions of RE2, which match no empty text: numbers of members or orders. One that "
        "cannot be compiled lets nothing pass.",
    )  # fmt: skip


class ClassificationPolicySpec(ApiModel):
    """The order of levels, the compartments, and what each may do."""

    unlabelled: ClassName = Field(description="Level of what nobody labelled.")
    levels: tuple[Level, ...] = Field(
        min_length=1, max_length=16, json_schema_extra=keyed_list("name", max_items=16),
        description="Levels, lowest first; the order is the rank. The rules of a level hold for every higher one too.",
    )  # fmt: skip
    compartments: tuple[Compartment, ...] = Field(
        default=(), max_length=64, json_schema_extra=keyed_list("name", max_items=64), description="Compartments."
    )
    signers: tuple[Signer, ...] = Field(
        default=(), max_length=16, json_schema_extra=keyed_list("name", max_items=16),
        description="Whose signatures count. A sealed model that none of them has signed is never unsealed.",
    )  # fmt: skip
    key_owners: tuple[KeyOwner, ...] = Field(
        default=(), max_length=64, json_schema_extra=keyed_list("namespace", "kms", max_items=64),
        description="Which namespaces own which keys. A KeyReleasePolicy of any other namespace releases none of them.",
    )  # fmt: skip
    dictionary: Dictionary | None = Field(
        default=None, description="Words and patterns of the organisation that detect and redact call custom."
    )

    validations: ClassVar[list[dict[str, str]]] = [
        {
            "rule": "self.levels.exists(l, l.name == self.unlabelled)",
            "message": "unlabelled must be the name of one of the levels",
            "fieldPath": ".unlabelled",
        },
        _signers_are_known("levels"),
        _signers_are_known("compartments"),
        _words_are_known("levels"),
        _words_are_known("compartments"),
    ]

    @model_validator(mode="after")
    def _check_names(self) -> "ClassificationPolicySpec":
        names = [level.name for level in self.levels]
        if self.unlabelled not in names:
            raise ValueError(f'unlabelled is "{self.unlabelled}"; the levels are {", ".join(names)}')
        if len(set(names)) < len(names) or len({c.name for c in self.compartments}) < len(self.compartments):
            raise ValueError("names of levels, and of compartments, must differ")
        return self

    @model_validator(mode="after")
    def _check_words(self) -> "ClassificationPolicySpec":
        for name, group in (("levels", self.levels), ("compartments", self.compartments)):
            words = {word for item in group for word in (*item.detect, *(item.rules.redact or ()))}
            words |= {word for item in group if item.rules.answers for word in item.rules.answers.detect}
            if unknown := sorted(words.difference(WORDS)):
                raise ValueError(
                    f'detect and redact of {name} name "{unknown[0]}"; what can be found is {", ".join(WORDS)}'
                )
        return self

    @model_validator(mode="after")
    def _check_owners(self) -> "ClassificationPolicySpec":
        if len({(item.namespace, item.kms) for item in self.key_owners}) < len(self.key_owners):
            raise ValueError("pairs of namespace and kms of keyOwners must differ")
        return self

    @model_validator(mode="after")
    def _check_signers(self) -> "ClassificationPolicySpec":
        known = {signer.name for signer in self.signers}
        if len(known) < len(self.signers):
            raise ValueError("names of signers must differ")
        for name, group in (("levels", self.levels), ("compartments", self.compartments)):
            weights = [item.rules.weights for item in group if item.rules.weights is not None]
            if not known.issuperset(signer for rule in weights for signer in (*rule.signed_by, *rule.approved_by)):
                raise ValueError(f"weights.signedBy and weights.approvedBy of {name} must name signers of spec.signers")
        return self


class ClassificationPolicyStatus(StatusModel):
    """What the operator made of the policy."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="Generation last read.", json_schema_extra={"format": "int64"}
    )
    order: Annotated[str, Field(max_length=600)] | None = Field(
        default=None, description="Levels as people read them, lowest first: public < internal."
    )
    digest: Annotated[str, Field(max_length=71)] | None = Field(
        default=None, description="Digest of the rules in force; records name it."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, json_schema_extra=CONDITIONS, description="State."
    )


KIND: dict[str, Any] = {
    "kind": "ClassificationPolicy",
    "plural": "classificationpolicies",
    "scope": "Cluster",
    "shortNames": ["classpolicy"],
    "spec": ClassificationPolicySpec,
    "status": ClassificationPolicyStatus,
    "description": "Says what each class of data may do. The one named default rules the cluster; without it "
    "everything is refused.",
    "validations": [
        {
            "rule": "self.metadata.name == 'default'",
            "message": "the policy that rules the cluster is named default; no other is read",
        }
    ],
    "columns": [
        ("Levels", "string", ".status.order", "Levels, lowest first"),
        ("Unlabelled", "string", ".spec.unlabelled", "Level of what nobody labelled"),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether the policy is in force"),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ],
}
