"""AccessPolicies as they are decided by: read from what people wrote, with what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from sekisho.access.dictionaries import Dictionary, keep_dictionary, read_dictionary
from sekisho.access.expressions import Expression, parse_expression
from sekisho.api.meta import ClassRef
from sekisho.api.v1alpha1.accesspolicy import AccessPolicySpec, Budgets
from sekisho.errors import Reason, RefusedError, Rejection

_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Policy:
    """One AccessPolicy.

    Attributes:
        models: Patterns of models that it governs.
        users: Subjects by name, as UserRef.
        expressions: Subjects by expression.
        dictionary: What is looked for in requests to its models, also while it lets nobody in.
        problem: Why it lets nobody in; the models it names stay governed.
        expires_at: When it ends; None: never.
    """

    namespace: str
    name: str
    models: tuple[str, ...]
    users: frozenset[str] = frozenset()
    expressions: tuple[Expression, ...] = ()
    ceiling: ClassRef | None = None
    sites: frozenset[str] | None = None
    budgets: Budgets | None = None
    redact: frozenset[str] = frozenset()
    dictionary: Dictionary | None = None
    expires_at: datetime | None = None
    problem: Rejection | None = None

    @property
    def full_name(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"

    def governs(self, model: str) -> bool:
        """Tell whether a model, as namespace/name, is one of those it names."""
        return any(_matches(pattern, model) for pattern in self.models)


def read_policy(raw: Mapping[str, Any], *, system_namespace: str) -> Policy:
    """Read an AccessPolicy as the API server has it; what is wrong with it is part of the result.

    Args:
        raw: The object.
        system_namespace: Namespace of the installation, whose policies may name every model.
    """
    meta = raw.get("metadata") or {}
    namespace, name = str(meta.get("namespace", "")), str(meta.get("name", ""))
    spec = raw.get("spec") or {}
    try:
        parsed = AccessPolicySpec.model_validate(spec)
    except ValidationError:
        problem = Rejection(Reason.INVALID_SPEC, f"AccessPolicy {namespace}/{name} cannot be read; its status says why")
        named = tuple(item for item in spec.get("models") or () if isinstance(item, str))
        own = tuple(item for item in named if _is_own(item, namespace, system_namespace))
        dictionary = read_dictionary(f"{namespace}/{name}", spec)
        return Policy(namespace, name, own, problem=problem, dictionary=dictionary)
    return build_policy(namespace, name, parsed, system_namespace=system_namespace)


def build_policy(namespace: str, name: str, spec: AccessPolicySpec, *, system_namespace: str) -> Policy:
    """Return the policy of a spec; patterns of others' namespaces do not count, and are its problem."""
    own = tuple(item for item in spec.models if _is_own(item, namespace, system_namespace))
    problem = _judge(namespace, name, spec, own)
    expressions: tuple[Expression, ...] = ()
    try:
        expressions = tuple(parse_expression(item.cel) for item in spec.subjects if item.cel is not None)
    except RefusedError as error:
        problem = problem or Rejection(error.reason, f"AccessPolicy {namespace}/{name}: {error.message}")
    return Policy(
        namespace=namespace,
        name=name,
        models=own,
        users=frozenset(item.user for item in spec.subjects if item.user is not None),
        expressions=expressions,
        ceiling=spec.ceiling,
        sites=None if spec.sites is None else frozenset(spec.sites),
        budgets=spec.budgets,
        redact=frozenset(spec.redact),
        dictionary=keep_dictionary(f"{namespace}/{name}", spec.dictionary),
        expires_at=None if spec.expires_at is None else datetime.fromisoformat(spec.expires_at),
        problem=problem,
    )


def _judge(namespace: str, name: str, spec: AccessPolicySpec, own: tuple[str, ...]) -> Rejection | None:
    if foreign := sorted(set(spec.models) - set(own)):
        return Rejection(
            Reason.INVALID_SPEC,
            f'AccessPolicy {namespace}/{name} names "{foreign[0]}", which is not of namespace {namespace}; policies '
            "for models of other namespaces stand in the operator's namespace",
        )
    if spec.suspended:
        return Rejection(Reason.GRANT_SUSPENDED, f"AccessPolicy {namespace}/{name} is suspended")
    return None


def _is_own(pattern: str, namespace: str, system_namespace: str) -> bool:
    return namespace == system_namespace or pattern.partition("/")[0] == namespace


def _matches(pattern: str, model: str) -> bool:
    wanted_namespace, _, wanted = pattern.partition("/")
    namespace, _, name = model.partition("/")
    if wanted_namespace not in {_ANY, namespace}:
        return False
    return name.startswith(wanted[:-1]) if wanted.endswith(_ANY) else name == wanted
