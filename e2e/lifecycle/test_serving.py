"""The quickstart as a newcomer sees it: services become ready, and answer those who may ask."""

from typing import Any

import pytest

from e2e.calls import GatewayAddress, ask, client, make_token
from e2e.conftest import PULL_SECRET
from e2e.installation import Installation
from e2e.observe import condition_of, pods_of

QUESTION = "What does the contract say?"


def test_a_caller_without_a_grant_learns_nothing_of_the_service(
    examples: Installation, gateway: GatewayAddress
) -> None:
    token = make_token(examples.cluster, namespace="web", account="default")
    refusal = ask(gateway, token, model="legal/contract-review", question=QUESTION)
    assert refusal.startswith("404 "), refusal
    assert 'there is no model "legal/contract-review" that you may use' in refusal
    assert refusal.replace("contract-review", "ghost") == ask(gateway, token, model="legal/ghost", question=QUESTION)


def test_a_grant_for_one_service_is_none_for_another(examples: Installation, gateway: GatewayAddress) -> None:
    token = make_token(examples.cluster, namespace="legal", account="reviewer")
    refusal = ask(gateway, token, model="web/faq-bot", question=QUESTION)
    assert refusal.startswith("404 "), refusal
    assert 'there is no model "web/faq-bot" that you may use; GET /v1/models lists yours' in refusal


def test_a_caller_without_clearance_is_refused_by_class(examples: Installation, gateway: GatewayAddress) -> None:
    kubectl = examples.cluster.kubectl
    kubectl("create", "serviceaccount", "intern", "-n", "legal")
    kubectl(
        "create", "rolebinding", "intern", "-n", "legal", "--role=use-contract-review", "--serviceaccount=legal:intern"
    )
    try:
        token = make_token(examples.cluster, namespace="legal", account="intern")
        refusal = ask(gateway, token, model="legal/contract-review", question=QUESTION)
    finally:
        kubectl("delete", "rolebinding,serviceaccount", "intern", "-n", "legal")
    assert refusal.startswith("403 "), refusal
    assert "confidential" in refusal


def test_a_token_for_the_api_server_is_none_for_the_gateway(examples: Installation, gateway: GatewayAddress) -> None:
    audience = "https://kubernetes.default.svc.cluster.local"
    token = make_token(examples.cluster, namespace="legal", account="reviewer", audience=audience)
    refusal = ask(gateway, token, model="legal/contract-review", question=QUESTION)
    assert refusal.startswith("401 "), refusal
    assert "sekisho-gateway" in refusal


def test_a_granted_caller_is_answered_whole_and_in_a_stream(examples: Installation, gateway: GatewayAddress) -> None:
    token = make_token(examples.cluster, namespace="legal", account="reviewer")
    messages: Any = [{"role": "user", "content": QUESTION}]
    with client(gateway, token) as api:
        whole = api.chat.completions.create(
            model="legal/contract-review", messages=messages, temperature=0, max_tokens=16
        )
        stream = api.chat.completions.create(
            model="legal/contract-review", messages=messages, temperature=0, max_tokens=16, stream=True
        )
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert whole.choices[0].message.content
    assert len(parts) > 1, "it came in one piece"
    assert "".join(parts) == whole.choices[0].message.content


def test_a_caller_is_shown_the_models_it_may_use_and_no_others(examples: Installation, gateway: GatewayAddress) -> None:
    import openai  # noqa: PLC0415 - it takes seconds, and every worker collects every test

    token = make_token(examples.cluster, namespace="legal", account="reviewer")
    with client(gateway, token) as api:
        assert [model.id for model in api.models.list()] == ["legal/contract-review"]
        with pytest.raises(openai.NotFoundError):
            api.models.retrieve("web/faq-bot")


def test_a_service_tells_its_class_its_site_and_why_nowhere_else(examples: Installation) -> None:
    examples.wait_condition("contract-review", "Ready", "True", namespace="legal")
    status = examples.get("inferenceservice", "contract-review", namespace="legal")["status"]
    assert status["class"]["display"] == "confidential+gdpr"
    assert status["placement"]["site"] == "tokyo-closed"
    assert "snp verified" in status["placement"]["because"]
    (rejected,) = status["placement"]["rejected"]
    assert (rejected["site"], rejected["reason"]) == ("osaka-cloud", "TierNotAllowed")
    assert status["replicas"]["summary"] == "1/1"
    assert {item["type"]: item["status"] for item in status["conditions"]} == dict.fromkeys(
        ("Accepted", "Placed", "Isolated", "Attested", "WeightsAvailable", "Serving", "Ready"), "True"
    )


def test_the_pods_of_a_confidential_service_are_where_its_class_allows_it(examples: Installation) -> None:
    examples.wait_condition("contract-review", "Ready", "True", namespace="legal")
    (pod,) = pods_of(examples.cluster, "contract-review", namespace="legal")
    node = examples.get("node", pod["spec"]["nodeName"])
    assert node["metadata"]["labels"]["sekisho.node-restriction.kubernetes.io/site"] == "tokyo"
    for kind, reason in (("sekisho.dev/isolated", "IsolationProven"), ("sekisho.dev/weights", "WeightsAvailable")):
        condition = condition_of(pod, kind)
        assert (condition["status"], condition["reason"]) == ("True", reason)


def test_pull_secrets_of_the_chart_reach_account_and_pods(examples: Installation) -> None:
    account = examples.get("serviceaccount", "faq-bot-predictor", namespace="web")
    assert account["imagePullSecrets"] == [{"name": PULL_SECRET}]
    (pod,) = pods_of(examples.cluster, "faq-bot", namespace="web")
    assert pod["spec"]["imagePullSecrets"] == [{"name": PULL_SECRET}]
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_budget_keeps_evictions_from_taking_the_last_replica(examples: Installation) -> None:
    budget = examples.get("poddisruptionbudget", "faq-bot-predictor", namespace="web")
    assert budget["status"]["expectedPods"] == 1
    assert budget["status"]["disruptionsAllowed"] <= 1
