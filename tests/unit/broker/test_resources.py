"""Resources by name: documents that can be read, and each name once."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sekisho.broker.resources import MAX_DOCUMENT_BYTES, Resources, parse_document
from sekisho.errors import Reason, RefusedError
from sekisho.seal.resource import digest_content, seal_resource
from tests.unit.broker.parts import Agent, Clock, World


def spell(data: bytes) -> str:
    return base64.b64encode(data).decode()


QUESTION = Agent(World()).build_question()
CONTENT = seal_resource(b"secret", bytes(32), path="default/key/1", nonce=bytes(12))
SECRET_QUESTION = QUESTION | {"manifestDigest": digest_content(CONTENT)}
DOCUMENT: dict[str, Any] = {"uri": "kbs:///default/key/1", "question": QUESTION}


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"x", Reason.REQUEST_INVALID, "it is not JSON"),
        (b"[" * 100_000, Reason.REQUEST_INVALID, "it is not JSON"),
        (b"[]", Reason.REQUEST_INVALID, "it is not an object of uri and question"),
        (DOCUMENT | {"more": 1}, Reason.REQUEST_INVALID, "it is not an object of uri and question, and content where"),
        (DOCUMENT | {"content": spell(CONTENT)}, Reason.REQUEST_INVALID, f"the digest {digest_content(CONTENT)}, not"),
        (DOCUMENT | {"content": "*"}, Reason.REQUEST_INVALID, "its content is not base64"),
        (
            DOCUMENT | {"question": SECRET_QUESTION, "content": f"{spell(CONTENT)[:4]}\n{spell(CONTENT)[4:]}"},
            Reason.REQUEST_INVALID,
            "its content is not base64",
        ),
        (DOCUMENT | {"content": 7}, Reason.REQUEST_INVALID, "its content is not base64 of 1 to 32796 bytes"),
        (DOCUMENT | {"content": ""}, Reason.REQUEST_INVALID, "its content is not base64 of 1 to 32796 bytes"),
        (DOCUMENT | {"content": spell(bytes(32797))}, Reason.REQUEST_INVALID, "not base64 of 1 to 32796 bytes"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), Reason.REQUEST_INVALID, "it has more than 131072 bytes"),
        ({"uri": "kbs:///a/b/c"}, Reason.REQUEST_INVALID, "it is not an object of uri and question"),
        (DOCUMENT | {"uri": 7}, Reason.REQUEST_INVALID, "it is not an object of uri and question"),
        (DOCUMENT | {"uri": "kbs:///a/b"}, Reason.ENDPOINT_UNKNOWN, "a resource is named by repository/type/tag"),
        (DOCUMENT | {"question": {}}, Reason.SEAL_INVALID, "the question"),
    ],
)
def test_a_document_that_is_spelt_otherwise_is_refused(data: Any, reason: Reason, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_document(data if isinstance(data, bytes) else json.dumps(data).encode())
    assert caught.value.reason is reason
    assert message in caught.value.message


@pytest.mark.parametrize("size", [1, 32796])
def test_content_may_be_as_small_and_as_large_as_is_allowed(size: int) -> None:
    content = bytes(size)
    question = QUESTION | {"manifestDigest": digest_content(content)}
    data = json.dumps(DOCUMENT | {"question": question, "content": spell(content)}).encode()
    assert parse_document(data.ljust(MAX_DOCUMENT_BYTES))[1].content == content


def test_a_secret_is_read_with_its_content(tmp_path: Path) -> None:
    write(tmp_path, "one.json", DOCUMENT | {"question": SECRET_QUESTION, "content": spell(CONTENT)})
    found = Resources(tmp_path, clock=Clock()).find("default/key/1")
    assert found.content == CONTENT
    assert found.question.manifest_digest == digest_content(CONTENT)


def write(folder: Path, name: str, document: Any) -> None:
    (folder / name).write_text(json.dumps(document))


def refused(resources: Resources, path: str) -> str:
    with pytest.raises(RefusedError) as caught:
        resources.find(path)
    assert caught.value.reason is Reason.ENDPOINT_UNKNOWN
    return caught.value.message


def test_a_folder_that_is_not_there_has_no_resources(tmp_path: Path) -> None:
    resources = Resources(tmp_path / "missing", clock=Clock())
    assert refused(resources, "default/key/1") == "no document speaks of resource default/key/1"


def test_a_resource_is_found_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, "one.json", DOCUMENT)
    found = Resources(tmp_path, clock=Clock()).find("default/key/1")
    question = found.question
    assert found.content == b""
    assert question.context.model == QUESTION["model"]
    assert question.manifest_digest == QUESTION["manifestDigest"]


def test_a_name_that_stands_twice_is_nobodys(tmp_path: Path) -> None:
    write(tmp_path, "one.json", DOCUMENT)
    write(tmp_path, "two.json", DOCUMENT)
    resources = Resources(tmp_path, clock=Clock())
    assert refused(resources, "default/key/1") == "more than one document speaks of resource default/key/1"


def test_a_document_that_cannot_be_read_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a.json", {})
    (tmp_path / "b.json").mkdir()
    write(tmp_path, "c.json", DOCUMENT)
    (tmp_path / "notes.txt").write_text("not looked at")
    assert Resources(tmp_path, clock=Clock()).find("default/key/1")
    assert [record.file for record in caplog.records] == ["a.json", "b.json"]  # type: ignore[attr-defined]
    assert {record.getMessage() for record in caplog.records} == {"a resource cannot be read"}
    assert "it is not an object of uri and question" in vars(caplog.records[0])["detail"]


def test_a_document_that_is_too_long_is_not_read_by_its_beginning(tmp_path: Path) -> None:
    whole = json.dumps(DOCUMENT).encode()
    (tmp_path / "one.json").write_bytes(whole.ljust(MAX_DOCUMENT_BYTES + 1))
    (tmp_path / "two.json").write_bytes(whole.replace(b"/key/1", b"/key/2").ljust(MAX_DOCUMENT_BYTES))
    resources = Resources(tmp_path, clock=Clock())
    assert refused(resources, "default/key/1") == "no document speaks of resource default/key/1"
    assert resources.find("default/key/2")


def test_a_folder_that_changes_is_read_anew(tmp_path: Path) -> None:
    clock = Clock()
    resources = Resources(tmp_path, clock=clock)
    refused(resources, "default/key/1")
    write(tmp_path, "one.json", DOCUMENT)
    clock.seconds = 10
    refused(resources, "default/key/1")
    clock.seconds = 11
    assert resources.find("default/key/1")
    (tmp_path / "one.json").unlink()
    clock.seconds = 22
    refused(resources, "default/key/1")
