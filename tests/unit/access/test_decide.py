"""Who is let in, by which policy, up to which class: every refusal first."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sekisho.access.decide import Access, Asker, Question, decide_access, is_in_force, is_let_in
from sekisho.access.policies import Policy, read_policy
from sekisho.classify.lattice import Lattice
from sekisho.errors import Reason, RefusedError
from tests.unit.plan.worlds import build_policy

NOW = datetime(2026, 11, 29, 20, 0, tzinfo=UTC)
LATTICE = Lattice.of(build_policy())
SYSTEM = "sekisho-system"
ANN = Asker("oidc:corp:ann", ("legal",), "corp", {"email": "ann@example.test"})
ROBOT = Asker("system:serviceaccount:legal:chat", ("system:serviceaccounts",), "kubernetes")


def build(name: str = "team", namespace: str = "legal", **spec: Any) -> Policy:
    whole = {"subjects": [{"user": "group:legal"}], "models": [f"{namespace}/*"], **spec}
    raw = {"metadata": {"namespace": namespace, "name": name}, "spec": whole}
    return read_policy(raw, system_namespace=SYSTEM)


def ask(*policies: Policy, who: Asker = ANN, level: str = "internal", model: str = "legal/chat", **more: Any) -> Access:
    value = LATTICE.resolve(level, more.get("compartments", ()), source="test")
    question = Question(model, value, more.get("site", "tokyo"))
    return decide_access(policies, who, question, lattice=LATTICE, now=NOW)


def refusal(*policies: Policy, **more: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refused:
        ask(*policies, **more)
    return refused.value.reason, refused.value.message


NOBODY = "answers those alone whom an AccessPolicy names, and none in force names you (oidc:corp:ann)"
CLOSED: dict[str, dict[str, Any]] = {
    "another group": {"subjects": [{"user": "group:hr"}]},
    "another user": {"subjects": [{"user": "user:oidc:corp:bob"}]},
    "an expression that is not true": {"subjects": [{"cel": "claims.email == 'bob@example.test'"}]},
    "an expression that fails": {"subjects": [{"cel": "claims.department == 'legal'"}]},
    "an expression that cannot be computed": {"subjects": [{"cel": "clams.x == 1"}, {"user": "group:legal"}]},
    "a suspended policy": {"suspended": True},
    "a policy that has ended": {"expiresAt": "2026-11-29T20:00:00Z"},
    "a policy that cannot be read": {"colour": "red"},
    "a policy that names a neighbour's models too": {"models": ["legal/chat", "hr/*"]},
}


@pytest.mark.parametrize("spec", CLOSED.values(), ids=CLOSED)
def test_a_model_that_a_policy_names_answers_nobody_else(spec: dict[str, Any]) -> None:
    policy = build(**spec)
    reason, message = refusal(policy)
    assert reason is Reason.NOT_ALLOWED
    assert message.startswith(f"legal/chat {NOBODY}")
    assert not is_let_in([policy], ANN, "legal/chat", now=NOW)
    assert ("cannot be read" in message) == (not is_in_force(policy, NOW))


def test_a_class_above_the_ceiling_is_refused_with_both() -> None:
    reason, message = refusal(build(ceiling={"level": "internal"}), level="confidential")
    assert reason is Reason.CLASS_ABOVE_CEILING
    assert "the request is confidential; AccessPolicy legal/team lets you ask legal/chat up to internal" in message


def test_a_compartment_that_the_ceiling_lacks_is_refused() -> None:
    reason, message = refusal(build(ceiling={"level": "restricted"}), compartments=("gdpr",))
    assert reason is Reason.CLASS_ABOVE_CEILING
    assert "the request is internal+gdpr" in message


def test_a_ceiling_that_nobody_knows_lets_nobody_in() -> None:
    reason, message = refusal(build(ceiling={"level": "secret"}))
    assert reason is Reason.NOT_ALLOWED
    assert 'ceiling of AccessPolicy legal/team asks for level "secret"' in message


@pytest.mark.parametrize(("site", "where"), [("osaka", "at site osaka"), (None, "at no site that is known")])
def test_another_site_is_refused(site: str | None, where: str) -> None:
    reason, message = refusal(build(sites=["tokyo"]), site=site)
    assert reason is Reason.NOT_ALLOWED
    assert f"legal/chat runs {where}; AccessPolicy legal/team lets you ask models at tokyo alone" in message


def test_of_several_refusals_the_class_is_told() -> None:
    policies = build("a", sites=["osaka"]), build("b", ceiling={"level": "public"})
    assert refusal(*policies)[0] is Reason.CLASS_ABOVE_CEILING


def test_policies_of_other_namespaces_change_nothing() -> None:
    stranger = build("grab", "hr", models=["legal/*"])
    assert stranger.problem is not None
    assert 'names "legal/*", which is not of namespace hr' in stranger.problem.detail
    assert ask(stranger) == Access()
    assert is_let_in([stranger], ANN, "legal/chat", now=NOW)


def test_a_policy_that_cannot_be_read_still_keeps_its_models_shut_and_no_others() -> None:
    raw = {"metadata": {"namespace": "legal", "name": "x"}, "spec": {"models": ["legal/chat", "hr/pay", 7]}}
    policy = read_policy(raw, system_namespace=SYSTEM)
    assert policy.models == ("legal/chat",)
    assert refusal(policy)[0] is Reason.NOT_ALLOWED
    assert ask(policy, model="hr/pay") == Access()


def test_policies_of_the_operators_namespace_may_name_all() -> None:
    everywhere = build("all", SYSTEM, models=["*/*"], subjects=[{"user": "group:hr"}])
    assert refusal(everywhere)[0] is Reason.NOT_ALLOWED
    assert refusal(everywhere, model="web/faq")[0] is Reason.NOT_ALLOWED


def test_a_model_that_no_policy_names_is_left_to_rbac() -> None:
    assert ask() == Access()
    assert ask(build(models=["legal/review-*"])) == Access()


LET_IN: dict[str, tuple[Asker, dict[str, Any]]] = {
    "by group": (ANN, {}),
    "by name": (ANN, {"subjects": [{"user": "user:oidc:corp:ann"}]}),
    "a service account": (ROBOT, {"subjects": [{"user": "serviceaccount:legal:chat"}]}),
    "by an expression": (ANN, {"subjects": [{"cel": "claims.email.endsWith('@example.test') && issuer == 'corp'"}]}),
    "by the model's name": (ANN, {"models": ["legal/chat"]}),
    "by the beginning of the model's name": (ANN, {"models": ["legal/ch*"]}),
    "before it ends": (ANN, {"expiresAt": f"{NOW + timedelta(seconds=1):%FT%TZ}"}),
    "up to its class": (ANN, {"ceiling": {"level": "internal"}}),
    "at its site": (ANN, {"sites": ["tokyo", "osaka"]}),
}


@pytest.mark.parametrize(("who", "spec"), LET_IN.values(), ids=LET_IN)
def test_whom_a_policy_means_is_let_in(who: Asker, spec: dict[str, Any]) -> None:
    policy = build(**spec)
    assert ask(policy, who=who).policy == "legal/team"
    assert is_let_in([policy], who, "legal/chat", now=NOW)


def test_the_first_policy_that_clears_is_charged_and_every_one_that_means_the_caller_redacts() -> None:
    low = build("a", ceiling={"level": "public"}, redact=["person"], budgets={"tokensPerDay": 1})
    high = build("b", redact=["email"], budgets={"requestsPerMinute": 5})
    other = build("c", subjects=[{"user": "group:hr"}], redact=["card"])
    access = ask(high, other, low)
    assert (access.policy, access.redact) == ("legal/b", frozenset({"person", "email"}))
    assert access.budgets is not None
    assert access.budgets.requests_per_minute == 5


def test_a_caller_never_shows_its_claims() -> None:
    assert "ann@example.test" not in repr(ANN)


class Counted:
    """An expression that is true of one user and one model, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def is_true(self, facts: Mapping[str, Any]) -> bool:
        self.asked += 1
        return bool(facts["user"] == "ann" and facts["model"] == "legal/chat")


def test_an_expression_is_asked_once_of_one_caller_and_one_model_and_anew_of_every_other() -> None:
    counted = Counted()
    policy = replace(build(subjects=[{"user": "user:nobody"}]), expressions=(counted,))  # type: ignore[arg-type]
    ann, bob = Asker("ann", (), "corp"), Asker("bob", (), "corp")
    for _ in range(2):
        assert is_let_in([policy], ann, "legal/chat", now=NOW)
        assert not is_let_in([policy], ann, "legal/other", now=NOW)
        assert not is_let_in([policy], bob, "legal/chat", now=NOW)
    assert counted.asked == 3
    other = replace(policy, expressions=())
    assert not is_let_in([other], ann, "legal/chat", now=NOW)
    ended = replace(policy, expires_at=NOW)
    assert not is_let_in([ended], ann, "legal/chat", now=NOW)
    assert is_let_in([policy], ann, "legal/chat", now=NOW)


def test_what_is_known_of_a_caller_is_bounded() -> None:
    ann, policies = Asker("ann", (), "corp"), [build(f"p{at}", subjects=[{"user": "user:ann"}]) for at in range(300)]
    for policy in policies:
        assert is_let_in([policy], ann, "legal/chat", now=NOW)
        assert len(ann.known) <= 256
