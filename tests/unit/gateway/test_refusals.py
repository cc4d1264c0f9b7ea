"""What is refused, before anything is relayed: by whom, by what was asked, by its class, and by how things are."""

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from aiohttp import web

from tests.unit.gateway.api_server import spell_token
from tests.unit.gateway.engine import USAGE, Engine, answer_well
from tests.unit.gateway.house import MODEL, USER, House, build_chat, build_service

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


async def refusal(house: House) -> dict[str, Any]:
    """Return the only entry of the record: the refusal."""
    (entry,) = await house.entries()
    assert entry["decision"] == "refused"
    assert not house.engine.requests
    return entry


async def test_a_request_without_a_token_is_refused_and_says_how_to_get_one(house: House) -> None:
    answer = await house.chat(token=None)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert "--audience=sekisho-gateway" in answer.message
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await house.entries() == []
    assert not house.engine.requests


@pytest.mark.parametrize("value", ["Basic dTpw", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer " + "a" * 8000, "x"])
async def test_what_is_no_token_of_a_service_account_is_refused_unasked(house: House, value: str) -> None:
    answer = await house.chat(token=None, headers={"Authorization": value})
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert house.api.reviews == []


async def test_a_token_whose_end_is_beyond_all_numbers_is_refused_unasked(house: House) -> None:
    said = json.dumps({"aud": ["sekisho-gateway"], "exp": 10**400}).encode()
    token = f"a.{base64.urlsafe_b64encode(said).rstrip(b'=').decode()}.c"
    answer = await house.chat(token=token)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert "it is not a token of a ServiceAccount" in answer.message
    assert house.api.reviews == []


async def test_a_token_of_another_audience_is_refused(house: House) -> None:
    answer = await house.chat(token=house.api.token(USER, audiences=("sekisho-depot",)))
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert "it is for another audience" in answer.message


async def test_a_token_that_claims_our_audience_but_is_unknown_to_the_api_server_is_refused(house: House) -> None:
    answer = await house.chat(token=spell_token("forged"))
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert "it is not valid" in answer.message


async def test_an_expired_token_is_refused(house: House) -> None:
    answer = await house.chat(token=house.api.token(USER, seconds=-1))
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert "it has expired" in answer.message


@pytest.mark.slow
async def test_a_token_is_not_remembered_for_longer_than_it_lives(house: House) -> None:
    token = ""

    async def is_taken() -> bool:
        nonlocal token
        token = house.api.token(USER, seconds=3)  # a busy machine may take longer before it is looked at
        return (await house.chat(token=token)).status == 200

    await house.settle(is_taken, what="a token to be remembered")

    async def is_refused() -> bool:
        return (await house.chat(token=token)).status == 401

    await house.settle(is_refused, what="the token to expire")


async def send_raw(house: House, *headers: str) -> bytes:
    """Send a request with headers that a client library would join; return the answer."""
    body = json.dumps(build_chat())
    lines = [f"POST {CHAT} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    reader, writer = await asyncio.open_connection("127.0.0.1", house.gateway.ports.https, ssl=house.trust)
    writer.write("\r\n".join([*lines, *headers, "", body]).encode())
    answer = await asyncio.wait_for(reader.readuntil(b"}}"), 60)
    writer.close()
    return answer


async def test_two_authorization_headers_are_refused(house: House) -> None:
    answer = await send_raw(house, *[f"Authorization: Bearer {house.token}"] * 2)
    assert answer.startswith(b"HTTP/1.1 401")
    assert not house.engine.requests


async def test_the_api_server_failing_refuses_and_asks_to_come_again(house: House) -> None:
    house.api.down = True
    answer = await house.chat(token=house.api.token(USER))
    assert (answer.status, answer.code) == (503, "api_unavailable")
    assert answer.message == "the API server cannot say who you are or what you may do; try again"
    assert answer.headers["Retry-After"] == "2"
    assert not house.engine.requests


async def test_the_api_server_failing_after_the_token_was_known_refuses_too(house: House) -> None:
    assert (await house.send("/v1/nothing")).status == 404
    house.api.down = True
    answer = await house.chat()
    assert (answer.status, answer.code) == (503, "api_unavailable")
    assert not house.engine.requests


async def test_a_model_that_is_not_there_and_one_that_is_not_allowed_look_the_same(house: House) -> None:
    house.api.put("inferenceservices", build_service("payroll", "hr"))
    await house.settle(lambda: ("hr", "payroll") in services(house), what="the service to be known")
    hidden = await house.chat(build_chat(model="hr/payroll"))
    absent = await house.chat(build_chat(model="hr/nothing"))
    assert (hidden.status, hidden.code) == (404, "model_unknown")
    assert hidden.json["error"] | {"message": ""} == absent.json["error"] | {"message": ""}
    assert hidden.message.replace("hr/payroll", "X") == absent.message.replace("hr/nothing", "X")
    assert hidden.message.startswith('there is no model "hr/payroll" that you may use')
    assert {"inferenceservices/hr/payroll", "inferenceservices/hr/nothing"} <= set(house.api.reviews)


def services(house: House) -> Any:
    return house.api.objects["inferenceservices"]


async def test_a_caller_with_a_lower_ceiling_is_told_both_classes_and_what_to_ask_for(house: House) -> None:
    house.api.rights -= {(USER, "classificationlevels", "", "confidential"), (USER, "compartments", "", "gdpr")}
    house.api.grant(USER, "classificationlevels", "internal")
    answer = await house.chat()
    assert (answer.status, answer.code) == (403, "class_above_ceiling")
    assert answer.message == (
        "the request is confidential+gdpr; your ceiling is internal. Use a model of a lower class, or ask the "
        'administrators for the right to "use" classificationlevels/confidential and compartments/gdpr of '
        "inference.sekisho.dev."
    )
    entry = await refusal(house)
    assert (entry["reason"], entry["class"]) == ("ClassAboveCeiling", "confidential.gdpr")


async def test_a_caller_without_the_compartment_is_refused_whatever_the_level(house: House) -> None:
    house.api.rights.discard((USER, "compartments", "", "gdpr"))
    house.api.grant(USER, "classificationlevels")
    answer = await house.chat()
    assert (answer.status, answer.code) == (403, "class_above_ceiling")
    assert "your ceiling is confidential." in answer.message
    assert "compartments/gdpr of" in answer.message


async def test_a_caller_without_any_level_is_refused(house: House) -> None:
    house.api.rights.discard((USER, "classificationlevels", "", "confidential"))
    answer = await house.chat()
    assert answer.code == "class_above_ceiling"
    assert "your ceiling is below every level" in answer.message


async def test_a_grant_of_a_higher_level_clears_lower_ones(house: House) -> None:
    house.api.rights.discard((USER, "classificationlevels", "", "confidential"))
    house.api.grant(USER, "classificationlevels", "restricted")
    assert (await house.chat()).status == 200


async def test_a_header_cannot_lower_the_class(house: House) -> None:
    house.api.rights.discard((USER, "classificationlevels", "", "confidential"))
    house.api.grant(USER, "classificationlevels", "public")
    answer = await house.chat(headers={"x-sekisho-classification": "public"})
    assert (answer.status, answer.code) == (403, "class_above_ceiling")
    entry = await refusal(house)
    assert entry["class"] == "confidential.gdpr"
    assert entry["classFrom"] == [f"service {MODEL}: confidential+gdpr", "header x-sekisho-classification: public"]


@pytest.mark.parametrize("header", ["restricted", "confidential.my-number", "restricted.gdpr.my-number"])
async def test_a_header_above_the_service_is_refused_with_both_facts(house: House, header: str) -> None:
    answer = await house.chat(headers={"x-sekisho-classification": header})
    assert (answer.status, answer.code) == (403, "class_above_service")
    assert f"header x-sekisho-classification says {header.replace('.', '+')}" in answer.message
    assert f"{MODEL} is cleared for confidential+gdpr" in answer.message


@pytest.mark.parametrize(
    ("header", "code", "said"),
    [
        ("secret", "unknown_level", "the policy knows public, internal, confidential, restricted"),
        ("confidential.x", "unknown_compartment", "the policy knows gdpr, my-number"),
        ("", "label_invalid", "has 0 characters"),
        ("a" * 64, "label_invalid", "has 64 characters"),
    ],
)
async def test_a_header_that_the_policy_does_not_know_is_refused(
    house: House, header: str, code: str, said: str
) -> None:
    answer = await house.chat(headers={"x-sekisho-classification": header})
    assert (answer.status, answer.code) == (400, code)
    assert said in answer.message


async def test_a_header_that_stands_twice_is_refused(house: House) -> None:
    classes = ("x-sekisho-classification: public", "X-Sekisho-Classification: restricted")
    answer = await send_raw(house, f"Authorization: Bearer {house.token}", *classes)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"stands 2 times; send it once" in answer
    assert not house.engine.requests


async def test_a_header_that_repeats_the_class_of_the_service_is_served(house: House) -> None:
    answer = await house.chat(headers={"x-sekisho-classification": "internal.gdpr"})
    assert answer.status == 200
    assert (await house.entries())[0]["class"] == "confidential.gdpr"


@pytest.mark.parametrize("kind", ["Ready", "Isolated"])
async def test_a_service_that_is_not_ready_or_not_isolated_is_not_relayed_to(house: House, kind: str) -> None:
    unmet = {
        "type": kind,
        "status": "False",
        "reason": "IsolationProofStale",
        "message": "no proof for 95 s, 90 s hold",
    }
    house.api.put("inferenceservices", build_service(unmet=unmet))

    async def is_refused() -> bool:
        return (await house.chat()).status == 503

    await house.settle(is_refused, what="the change to arrive")
    answer = await house.chat()
    assert (answer.status, answer.code) == (503, "model_not_ready")
    assert answer.message == (
        f"model {MODEL} does not answer now: {kind} is False: IsolationProofStale: no proof for 95 s, 90 s hold"
    )
    assert "Retry-After" in answer.headers


async def test_a_service_whose_class_is_being_raised_is_not_relayed_to(house: House) -> None:
    house.api.put("inferenceservices", build_service(spec={"classification": {"level": "restricted"}}))

    async def is_refused() -> bool:
        return (await house.chat()).status == 503

    await house.settle(is_refused, what="the change to arrive")
    answer = await house.chat()
    assert answer.code == "model_not_ready"
    assert "its class is being raised from confidential+gdpr to restricted+gdpr" in answer.message


async def test_without_a_policy_nothing_is_relayed_and_the_gateway_still_answers(house: House) -> None:
    house.api.remove("classificationpolicies", "default")

    async def is_refused() -> bool:
        return (await house.chat()).code == "policy_missing"

    await house.settle(is_refused, what="the removal to arrive")
    answer = await house.chat()
    assert answer.status == 503
    assert (await house.ready())[0] == 200
    assert not house.engine.requests
    assert answer.message == (
        'there is no ClassificationPolicy "default", and without one nothing is relayed; an administrator creates it'
    )


async def test_a_policy_that_cannot_be_read_refuses(house: House) -> None:
    house.api.put("classificationpolicies", {"metadata": {"name": "default"}, "spec": {"levels": []}})

    async def is_refused() -> bool:
        return (await house.chat()).code == "policy_invalid"

    await house.settle(is_refused, what="the change to arrive")
    assert not house.engine.requests


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b"", None, "not JSON"),
        (b"[]", None, "must be a JSON object"),
        (b"{", None, "not JSON (character 1)"),
        (b"\xff{}", None, "not UTF-8 (byte 0)"),
        (b'{"n":NaN}', None, "holds NaN"),
        (b'{"seed":' + b"9" * 5000 + b"}", None, "a number that is too long"),
        (b'{"a":' * 5000, None, "nested deeper than 32 levels"),
        (b'{"model":"a/b","model":"a/c"}', "model", 'has the key "model" twice'),
        (json.dumps(build_chat(chat_template="{{ x }}")).encode(), "chat_template", '"chat_template" is not served'),
        (json.dumps(build_chat(stream="yes")).encode(), "stream", "stream must be a boolean"),
        (json.dumps(build_chat(n=9)).encode(), "n", "n is 9, 1 to 8 are possible"),
        (json.dumps(build_chat(n=True)).encode(), "n", "n must be a whole number"),
        (json.dumps(build_chat(model="contract-review")).encode(), "model", "must be namespace/name"),
        (json.dumps(build_chat(model="legal/../x")).encode(), "model", "must be namespace/name"),
        (json.dumps(build_chat(messages=[])).encode(), "messages", "at least one message"),
    ],
)
async def test_a_body_that_is_not_as_it_must_be_is_refused_by_name(
    house: House, body: bytes, param: str | None, said: str
) -> None:
    answer = await house.send(CHAT, data=body, headers=JSON)
    assert (answer.status, answer.code) == (400, "request_invalid")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert answer.json["error"]["param"] == param
    assert said in answer.message
    assert (await refusal(house))["reason"] == "RequestInvalid"


async def test_a_body_that_is_too_large_is_refused_with_the_limit(house: House) -> None:
    body = json.dumps(build_chat(messages=[{"role": "user", "content": "x" * (2 << 20)}])).encode()
    answer = await house.send(CHAT, data=io.BytesIO(body), headers=JSON)
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert "2097152 bytes" in answer.message


async def test_a_body_just_below_the_limit_is_relayed(house: House) -> None:
    chat = build_chat(messages=[{"role": "user", "content": "x" * 2_000_000}])
    answer = await house.send(CHAT, data=io.BytesIO(json.dumps(chat).encode()), headers=JSON)
    assert answer.status == 200
    assert house.engine.requests[0][1] == chat | {"stream": False}


async def test_a_body_of_unknown_length_is_cut_at_the_limit(house: House) -> None:
    async def parts() -> Any:
        for _ in range(40):
            yield b"x" * (64 << 10)

    answer = await house.send(CHAT, data=parts(), headers=JSON)
    assert (answer.status, answer.code) == (413, "request_too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_another_type_or_coding_of_the_body_is_refused(house: House, headers: dict[str, str]) -> None:
    answer = await house.send(CHAT, data=json.dumps(build_chat()).encode(), headers=headers)
    assert (answer.status, answer.code) == (400, "request_invalid")
    assert answer.message.startswith("Content-")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/files"), ("GET", "/v1/embeddings"), ("GET", CHAT), ("POST", "/"), ("GET", "/metrics"),
     ("POST", "/v1/chat/completions/"), ("POST", "//v1/chat/completions")],
)  # fmt: skip
async def test_an_unknown_endpoint_is_refused_in_the_same_shape(house: House, method: str, path: str) -> None:
    answer = await house.send(path, method=method)
    assert (answer.status, answer.code) == (404, "endpoint_unknown")
    assert f"POST {CHAT}" in answer.message


async def test_an_unknown_endpoint_tells_strangers_nothing(house: House) -> None:
    assert (await house.send("/v1/embeddings", token=None)).status == 401


async def test_more_requests_of_one_caller_than_allowed_are_told_to_wait(house: House) -> None:
    enough = asyncio.Event()

    async def hold(engine: Engine, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await enough.wait()
        return await answer_well(engine, request, body)

    house.engine.behave = hold
    asked = [asyncio.create_task(house.chat(build_chat(stream=True))) for _ in range(80)]
    await house.settle(
        lambda: house.engine.under_way + sum(task.done() for task in asked) == 80, what="all to be held or told"
    )
    enough.set()
    answers = await asyncio.gather(*asked)
    late = [answer for answer in answers if answer.status == 429]
    assert len(late) == 80 - 64
    assert {answer.code for answer in late} == {"overloaded"}
    assert late[0].message == "64 requests of yours are under way, 64 are possible; end one first"
    assert late[0].headers["Retry-After"] == "1"


async def test_nothing_of_caller_or_text_stands_in_metrics_or_record(house: House) -> None:
    await house.chat()
    told = json.dumps(await house.entries()) + house.metrics()
    assert "秘密" not in told
    assert "What is a class" not in told
    assert house.token not in told
    assert "tokens" in told
    assert str(USAGE["prompt_tokens"]) in told
    assert "sekisho_gateway_requests_total" in house.metrics()
    assert USER not in house.metrics()


async def test_a_caller_whom_the_service_does_not_name_is_refused_by_the_rule(house: House) -> None:
    house.api.put("inferenceservices", build_service(spec={"users": ["group:audit"]}))

    async def is_hidden() -> bool:
        return (await house.send("/v1/models", method="GET")).json["data"] == []

    await house.settle(is_hidden, what="the service to name others")
    shown = await house.send(f"/v1/models/{MODEL}", method="GET")
    assert (shown.status, shown.code) == (403, "not_allowed")
    answer = await house.chat()
    assert (answer.status, answer.code) == (403, "not_allowed")
    assert f"spec.users of {MODEL} names neither you ({USER}) nor a group of yours" in answer.message
    entries = [entry for entry in await house.entries() if entry["model"]]
    assert [entry["reason"] for entry in entries] == ["NotAllowed"]
    assert not house.engine.requests


async def test_a_caller_whom_the_service_names_is_answered_until_the_grants_of_its_key_leave_him_out(
    house: House,
) -> None:
    service = build_service(spec={"users": ["group:g", "serviceaccount:legal:app"]})
    house.api.put("inferenceservices", service)
    assert (await house.chat()).status == 200
    service["status"]["users"] = ["group:others"]
    house.api.put("inferenceservices", service)

    async def is_refused() -> bool:
        return (await house.chat()).status == 403

    await house.settle(is_refused, what="the grants to arrive")
    assert "as far as owner and tenant of its model grant them" in (await house.chat()).message
