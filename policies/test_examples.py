"""Every example of every policy, on the real API server with all policies in force."""

from collections.abc import Iterator

import pytest

from policies.conftest import HERE, policy_documents
from policies.example import Example, was_denied_by, was_denied_by_any
from tests.integration.api.server import ApiServer, wait_until

TOPICS = sorted(path.parent.name for path in HERE.glob("*/policy.yaml"))
DENIED = sorted(HERE.glob("*/deny/*.yaml"))
ALLOWED = sorted(HERE.glob("*/allow/*.yaml"))
NAMES = [item["metadata"]["name"] for item in policy_documents() if item["kind"] == "ValidatingAdmissionPolicy"]


def name_of(path: object) -> str:
    return str(path).removeprefix(str(HERE)).removesuffix(".yaml").strip("/")


@pytest.fixture
def made(server: ApiServer, room: str) -> Iterator[list[str]]:
    """Namespaces that examples make beside their own; deleted afterwards."""
    yield []
    for item in server.request("GET", "/api/v1/namespaces").body["items"]:
        if item["metadata"]["name"].startswith(f"{room}-"):
            server.request("DELETE", f"/api/v1/namespaces/{item['metadata']['name']}")


@pytest.mark.parametrize("path", DENIED, ids=name_of)
@pytest.mark.usefixtures("made")
def test_a_deny_example_is_refused_in_its_words(path: "object", server: ApiServer, room: str) -> None:
    example = Example.read(HERE / f"{name_of(path)}.yaml")
    example.prepare(server, room)
    answer = example.ask(server, room)
    assert was_denied_by(answer, example.path.parts[-3]), f"{answer.status}: {answer.message}"
    assert example.head["denied"] in answer.message


@pytest.mark.parametrize("path", ALLOWED, ids=name_of)
@pytest.mark.usefixtures("made")
def test_an_allow_example_is_let_through(path: "object", server: ApiServer, room: str) -> None:
    example = Example.read(HERE / f"{name_of(path)}.yaml")
    example.prepare(server, room)
    answer = example.ask(server, room)
    assert not was_denied_by_any(answer), answer.message
    # What lies behind admission is not there for a CONNECT: no kubelet runs the pod.
    assert answer.ok or example.head.get("verb") == "connect", f"{answer.status}: {answer.message}"


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_examples_of_both_kinds(topic: str) -> None:
    assert list((HERE / topic / "allow").glob("*.yaml"))
    assert list((HERE / topic / "deny").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_passes_the_type_check_without_a_warning(name: str, server: ApiServer) -> None:
    path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}"

    def is_checked() -> bool:
        body = server.request("GET", path).body
        return bool(body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"])

    wait_until(is_checked, what=f"the type check of {name}")
    status = server.request("GET", path).body["status"]
    assert status["typeChecking"].get("expressionWarnings", []) == []


@pytest.mark.parametrize("document", policy_documents(), ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_a_policy_fails_closed_and_denies(document: dict[str, dict[str, object]]) -> None:
    if document["kind"] == "ValidatingAdmissionPolicy":
        assert document["spec"]["failurePolicy"] == "Fail"
        return
    assert document["spec"]["policyName"] == document["metadata"]["name"]
    assert document["spec"]["validationActions"] == ["Deny", "Audit"]
    if "paramRef" in document["spec"]:
        assert document["spec"]["paramRef"] == {"name": "default", "parameterNotFoundAction": "Deny"}
