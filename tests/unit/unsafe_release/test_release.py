"""The unsafe development release: what it opens, for whom, and everything it refuses."""

import asyncio
import base64
import json
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeter

from sekisho.agent.release import KeyRequest
from sekisho.errors import Reason, RefusedError
from sekisho.kms.unsafe_development import UnsafeDevelopmentKeys, rotate_unsafe_key
from sekisho.seal.keys import KeyContext, WrappedKey, encode_wrapped, parse_wrapped
from sekisho.unsafe_release.keys import list_keys, parse_question
from sekisho.unsafe_release.process import RunningRelease, run_release
from sekisho.unsafe_release.settings import ReleaseSettings, read_settings
from tests.unit.agent.sealed import KEY_ID, make_keys
from tests.unit.depot.parts import TOKEN, Keys, SimulatedCluster, build_keys, build_pod, settle

KEY = bytes(range(32))
CONTEXT = KeyContext("legal/reviewer", 7, "confidential+gdpr")


def question_for(wrapped: WrappedKey, **changes: Any) -> dict[str, Any]:
    body = json.loads(
        KeyRequest(encode_wrapped(wrapped), f"sha256:{'a' * 64}", "legal/reviewer", 7, "confidential+gdpr").encode()
    )
    return dict(body) | changes


def spell(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(repr=False)
class Scene:
    """A release that runs, and a key that it can open."""

    folder: Path
    tls: Keys
    cluster: SimulatedCluster
    keys: UnsafeDevelopmentKeys
    running: RunningRelease

    async def ask(self, data: bytes, *, token: str = TOKEN, path: str = "/v1/release") -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(self._ask, data, token, path)

    def _ask(self, data: bytes, token: str, path: str) -> tuple[int, dict[str, Any]]:
        url = f"https://127.0.0.1:{self.running.https_port}{path}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(url, data=data, headers=headers, method="POST")
        context = ssl.create_default_context(cafile=str(self.tls.ca))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    @property
    def wrapped(self) -> WrappedKey:
        return self.keys.wrap(KEY, key_id=KEY_ID, context=CONTEXT)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    tls = build_keys(tmp_path / "tls", "127.0.0.1")
    cluster = SimulatedCluster()
    cluster.add_pod(build_pod(), TOKEN)
    keys = make_keys(tmp_path / "keys")
    release = ReleaseSettings(
        keys_dir=tmp_path / "keys", tls_dir=tmp_path / "tls", host="127.0.0.1", https_port=0, health_port=0
    )
    async with run_release(release, cluster, meter=NoOpMeter("test")) as running:
        yield Scene(tmp_path, tls, cluster, keys, running)


async def test_a_pod_of_ours_gets_the_key_of_a_development_model_and_no_log_tells_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    status, body = await scene.ask(spell(question_for(scene.wrapped)))
    assert (status, body) == (200, {"dataKey": base64.b64encode(KEY).decode()})
    told = "".join(f"{record.getMessage()}{record.__dict__}" for record in caplog.records)
    assert "a data key was released without evidence" in told
    for secret in (body["dataKey"], KEY.hex(), TOKEN, str(KEY)):
        assert secret not in told


@pytest.mark.parametrize("kms", ["openbao", "pkcs11", "aws-kms", "gcp-kms", "azure-key-vault", "unsafe-development2"])
async def test_a_key_of_any_real_key_service_is_refused_before_anything_else(scene: Scene, kms: str) -> None:
    wrapped = replace(scene.wrapped, kms=kms)
    body = question_for(wrapped, **{"class": 7, "model": None, "version": "x", "manifestDigest": "none"})
    (scene.folder / "keys" / f"{KEY_ID}.json").unlink()
    status, said = await scene.ask(spell(body))
    assert (status, said["reason"]) == (403, "KeyUnsafe")
    assert f"the key is one of {kms}" in said["message"]


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"model": "legal/other"}, "KeyMismatch", "another key, model, version or class wrapped it"),
        ({"version": 8}, "KeyMismatch", "another key, model, version or class wrapped it"),
        ({"class": "internal"}, "KeyMismatch", "another key, model, version or class wrapped it"),
    ],
)
async def test_a_key_opens_for_what_it_was_wrapped_for_alone(
    scene: Scene, changes: dict[str, Any], reason: str, message: str
) -> None:
    status, said = await scene.ask(spell(question_for(scene.wrapped, **changes)))
    assert (status, said["reason"]) == (403, reason)
    assert message in said["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", 'lacks the field "class"'),
        (b'{"a": 1}', "is not spelt canonically"),
        (spell({"class": "a", "keyFile": "!", "manifestDigest": "", "model": "", "version": 1}), "is not base64"),
        (
            spell({"class": "a", "keyFile": "e30=", "manifestDigest": "", "model": "", "version": 1}),
            'sekisho.key.json lacks the field "format"',
        ),
    ],
)
async def test_a_question_that_cannot_be_read_is_refused(scene: Scene, body: bytes, message: str) -> None:
    status, said = await scene.ask(body)
    assert (status, said["reason"]) == (400, "SealInvalid")
    assert message in said["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 0}, "the question.version is 0"),
        ({"version": True}, "a whole number is needed"),
        ({"model": ""}, "the question.model has 0 bytes"),
        ({"class": ""}, "the question.class has 0 bytes"),
        ({"manifestDigest": "sha256:1"}, "the question.manifestDigest"),
        ({"more": 1}, 'has the field "more", which this format does not know'),
    ],
)
async def test_a_question_with_a_wrong_field_is_refused_by_its_name(
    scene: Scene, changes: dict[str, Any], message: str
) -> None:
    status, said = await scene.ask(spell(question_for(scene.wrapped, **changes)))
    assert (status, said["reason"]) == (400, "SealInvalid")
    assert message in said["message"]


async def test_a_body_beyond_its_bound_is_refused(scene: Scene) -> None:
    status, said = await scene.ask(b" " * (129 * 1024))
    assert (status, said["reason"]) == (413, "RequestTooLarge")


async def test_there_is_nothing_but_the_one_route(scene: Scene) -> None:
    status, said = await scene.ask(b"", path="/v1/keys")
    assert (status, said["reason"]) == (404, "RequestInvalid")


@pytest.mark.parametrize(
    ("token", "status", "reason", "message"),
    [
        ("", 401, "Unauthenticated", "the request carries no bearer token"),
        ("stolen", 401, "Unauthenticated", "the token is not valid"),
        ("stranger", 403, "PodNotKnown", "belongs to no InferenceService"),
        ("other", 403, "PodNotKnown", "runs as default, not as chat-predictor"),
    ],
)
async def test_who_is_no_pod_of_ours_gets_no_key(
    scene: Scene, token: str, status: int, reason: str, message: str
) -> None:
    scene.cluster.add_pod(build_pod(name="web-0", uid="uid-8", service="", service_account="default"), "stranger")
    scene.cluster.add_pod(build_pod(name="chat-7", uid="uid-7", service_account="default"), "other")
    found, said = await scene.ask(spell(question_for(scene.wrapped)), token=token)
    assert (found, said["reason"]) == (status, reason)
    assert message in said["message"]


async def test_a_pod_that_ends_gets_no_key(scene: Scene) -> None:
    scene.cluster.add_pod(build_pod(ended=True), TOKEN)
    status, said = await scene.ask(spell(question_for(scene.wrapped)))
    assert (status, said["reason"]) == (403, "PodNotKnown")


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a pod less in a second than the slowest machine asks."""
    monkeypatch.setattr("sekisho.unsafe_release.process._PODS_PER_SECOND", 0.2)


async def test_one_pod_cannot_ask_without_end(slowly: None, scene: Scene) -> None:
    answers = [await scene.ask(b"{}") for _ in range(12)]
    assert answers[-1][0] == 429
    assert answers[-1][1]["reason"] == "Overloaded"


async def test_an_api_server_that_does_not_answer_is_an_outage_and_no_refusal(scene: Scene) -> None:
    scene.cluster.down = True
    status, said = await scene.ask(spell(question_for(scene.wrapped)))
    assert (status, said["reason"]) == (503, "ApiUnavailable")


@pytest.mark.parametrize("key_id", ["../tls/tls", "/etc/passwd", "owner.json", "..", "owner/../owner", "OWNER"])
async def test_a_key_is_found_by_its_name_and_never_by_a_path(scene: Scene, key_id: str) -> None:
    status, said = await scene.ask(spell(question_for(replace(scene.wrapped, key_id=key_id))))
    assert (status, said["reason"]) == (403, "KeyNotFound")


async def test_a_version_below_the_minimum_of_the_file_is_revoked(scene: Scene) -> None:
    wrapped = scene.wrapped
    file = scene.folder / "keys" / f"{KEY_ID}.json"
    rotate_unsafe_key(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"minimumVersion": 2}))
    status, said = await scene.ask(spell(question_for(wrapped)))
    assert (status, said["reason"]) == (403, "KeyVersionRevoked")
    status, _ = await scene.ask(spell(question_for(scene.wrapped)))
    assert status == 200


async def test_it_is_ready_while_there_is_a_key(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await settle(lambda: scene.running.readiness.problem == "")
    assert list_keys(scene.folder / "keys") == {KEY_ID: scene.folder / "keys" / f"{KEY_ID}.json"}
    (scene.folder / "keys" / "..data").mkdir()
    assert list(list_keys(scene.folder / "keys")) == [KEY_ID]
    assert list_keys(scene.folder / "nowhere") == {}


@pytest.mark.parametrize("name", ["SEKISHO_MINIMUM_VERSION", "SEKISHO_HTTPS_PORT", "SEKISHO_HEALTH_PORT"])
@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "x", "99999999999", "٣"])
def test_settings_name_the_variable_that_is_wrong(name: str, value: str) -> None:
    with pytest.raises(RefusedError, match=f"{name} is not a whole number") as caught:
        read_settings({name: value})
    assert caught.value.reason is Reason.INVALID_SPEC


def test_settings_are_read() -> None:
    assert read_settings({}) == ReleaseSettings()
    read = read_settings({"SEKISHO_MINIMUM_VERSION": "3", "SEKISHO_KEYS_DIR": "/k"})
    assert (read.minimum_version, read.keys_dir) == (3, Path("/k"))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300) | st.dictionaries(st.sampled_from(["class", "keyFile", "model"]), st.text()).map(spell))
def test_no_bytes_make_reading_a_question_fail_but_by_a_refusal(data: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_question(data)
    assert caught.value.reason in {Reason.SEAL_INVALID, Reason.KEY_UNSAFE}


def test_the_wrapped_key_is_read_as_the_owners_tools_spell_it(tmp_path: Path) -> None:
    wrapped = make_keys(tmp_path / "keys").wrap(KEY, key_id=KEY_ID, context=CONTEXT)
    question = parse_question(spell(question_for(wrapped)))
    assert question.wrapped == parse_wrapped(encode_wrapped(wrapped))
    assert question.context == CONTEXT
