"""Looking at weights where they come from: what is refused, what is told, and how little is read."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.api.v1alpha1.model import Inspection
from sekisho.depot.inspection import Question, inspect_source
from sekisho.depot.settings import SourceEntry
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.seal.facts import KEY_NAME, MANIFEST_NAME, SIGNATURES_NAME, TABLE_NAME
from sekisho.seal.trust import Signer, SignerText, parse_signers
from tests.unit.depot.artifacts import digest_of, entry_of, push, sealed_blobs, uri_of
from tests.unit.depot.parts import FileServer, build_keys, serve_files
from tests.unit.seal.signing import ed25519_key, envelope_of, pem_of

POLICY = "sha256:" + "aa" * 32
Blobs = dict[str, bytes]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve_files(FileServer(), None) as served:
        yield served


def trusted(*names: str) -> Callable[[], tuple[Signer, ...]]:
    return lambda: parse_signers([SignerText(name, public_keys=(pem_of(ed25519_key(name)),)) for name in names])


async def look(
    server: FileServer, *, digest: str | None = None, most: int = 1 << 20, signers: Any = None
) -> Inspection:
    question = Question(uri_of(server), digest, POLICY, "a")
    return await inspect_source(question, entry_of(server), signers or trusted("release"), most_bytes=most)


def without(name: str) -> Callable[[Blobs], Blobs]:
    return lambda blobs: {key: value for key, value in blobs.items() if key != name}


def signed_anew(change: Callable[[dict[str, Any]], None]) -> Callable[[Blobs], Blobs]:
    """Change the manifest without signing it again."""

    def spoil(blobs: Blobs) -> Blobs:
        value = json.loads(blobs[MANIFEST_NAME])
        change(value)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return {**blobs, MANIFEST_NAME: text.encode()}

    return spoil


SPOILT: dict[str, tuple[Callable[[Blobs], Blobs], Reason, str]] = {
    "nobody signed": (without(SIGNATURES_NAME), Reason.SIGNATURE_MISSING, "there is no sekisho.sig.json"),
    "a stranger signed": (
        lambda blobs: {**blobs, SIGNATURES_NAME: envelope_of(blobs[MANIFEST_NAME], ed25519_key("stranger"))},
        Reason.SIGNER_NOT_TRUSTED, "is none of the policy's",
    ),
    "another manifest was signed": (
        lambda blobs: {**blobs, SIGNATURES_NAME: sealed_blobs("release")[SIGNATURES_NAME][:-3] + b"A=="},
        Reason.SEAL_INVALID, "sekisho.sig.json",
    ),
    "the version was raised afterwards": (
        signed_anew(lambda value: value["model"].update(version=8)), Reason.SIGNATURE_INVALID, "",
    ),
    "the class was lowered afterwards": (
        signed_anew(lambda value: value["model"].update({"class": "public"})), Reason.SIGNATURE_INVALID, "",
    ),
    "the signatures are no JSON": (
        lambda blobs: {**blobs, SIGNATURES_NAME: b"{"}, Reason.SEAL_INVALID, "sekisho.sig.json",
    ),
    "a file is missing": (
        without("files/00000.sealed"), Reason.SEAL_BROKEN, "1 files of the manifest are missing",
    ),
    "a file was cut": (
        lambda blobs: {**blobs, "files/00002.sealed": blobs["files/00002.sealed"][:-1]},
        Reason.SEAL_BROKEN, "has 19 bytes",
    ),
    "a file was replaced by one of the same size": (
        lambda blobs: {**blobs, "files/00002.sealed": bytes(len(blobs["files/00002.sealed"]))},
        Reason.SEAL_BROKEN, '"files/00002.sealed" has digest sha256:',
    ),
    "the table was replaced": (
        lambda blobs: {**blobs, TABLE_NAME: bytes(len(blobs[TABLE_NAME]))}, Reason.SEAL_BROKEN,
        '"sekisho.table" has digest sha256:',
    ),
    "a plain file lies beside": (
        lambda blobs: {**blobs, "config.json": b"{}"}, Reason.NOT_SEALED,
        '1 files are not in the manifest: "config.json"',
    ),
    "the wrapped key is missing": (without(KEY_NAME), Reason.SEAL_BROKEN, "sekisho.key.json is missing"),
    "the wrapped key is misspelt": (
        lambda blobs: {**blobs, KEY_NAME: b"{}"}, Reason.SEAL_INVALID, 'sekisho.key.json lacks the field "format"',
    ),
    "the wrapped key is too large": (
        lambda blobs: {**blobs, KEY_NAME: bytes(70_000)}, Reason.SEAL_INVALID,
        "sekisho.key.json has 70000 bytes, 65536 are allowed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
async def test_a_sealed_model_that_does_not_hold_is_refused_in_its_status(name: str, server: FileServer) -> None:
    spoil, reason, words = SPOILT[name]
    push(server, spoil(sealed_blobs("release")))
    found = await look(server)
    assert found.refusal is not None
    assert (found.sealed, found.refusal.reason) == (True, reason)
    assert words in found.refusal.message
    assert (found.manifest_digest, found.version, found.class_, found.signed_by) == (None, None, None, ())


async def test_a_blob_that_is_not_what_the_artifact_says_is_refused(server: FileServer) -> None:
    blobs = sealed_blobs("release")
    push(server, blobs)
    other = sealed_blobs("release", "board")[SIGNATURES_NAME][: len(blobs[SIGNATURES_NAME])]
    server.files[f"/v2/models/x/blobs/{digest_of(blobs[SIGNATURES_NAME])}"] = other
    found = await look(server)
    assert found.refusal is not None
    assert found.refusal.reason == Reason.DIGEST_MISMATCH
    assert "the artifact says sha256:" in found.refusal.message


async def test_a_blob_longer_than_the_artifact_says_is_not_read_to_its_end(server: FileServer) -> None:
    blobs = sealed_blobs("release")
    push(server, blobs)
    server.files[f"/v2/models/x/blobs/{digest_of(blobs[KEY_NAME])}"] = bytes(1 << 20)
    found = await look(server)
    assert found.refusal is not None
    assert "is longer than the" in found.refusal.message


async def test_a_policy_whose_signers_cannot_be_read_trusts_nobody(server: FileServer) -> None:
    def broken() -> tuple[Signer, ...]:
        raise RefusedError(Reason.POLICY_INVALID, "signers share a key")

    push(server, sealed_blobs("release"))
    found = await look(server, signers=broken)
    assert found.refusal is not None
    assert found.refusal.reason == Reason.POLICY_INVALID


SOURCES: dict[str, tuple[Callable[[FileServer], None], Reason]] = {
    "nothing there": (lambda server: server.files.clear(), Reason.SOURCE_NOT_FOUND),
    "not allowed": (lambda server: setattr(server, "status", 403), Reason.SOURCE_DENIED),
    "out of order": (lambda server: setattr(server, "status", 503), Reason.SOURCE_UNREACHABLE),
    "a layer that climbs": (lambda server: _ignore(push(server, {"../x": b""})), Reason.SOURCE_INVALID),
    "a manifest that is gone": (
        lambda server: _ignore(server.files.pop(f"/v2/models/x/blobs/{digest_of(sealed_blobs()[MANIFEST_NAME])}")),
        Reason.SOURCE_NOT_FOUND,
    ),
}


def _ignore(_: object) -> None:
    pass


@pytest.mark.parametrize("name", SOURCES)
async def test_a_source_that_cannot_be_read_tells_nothing_of_the_weights(name: str, server: FileServer) -> None:
    push(server, sealed_blobs("release"))
    spoil, reason = SOURCES[name]
    spoil(server)
    with pytest.raises(SekishoError) as caught:
        await look(server)
    assert caught.value.reason is reason


async def test_another_artifact_than_the_model_expects_is_refused(server: FileServer) -> None:
    push(server, sealed_blobs("release"))
    with pytest.raises(RefusedError, match="not served") as caught:
        await look(server, digest=POLICY)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


async def test_an_artifact_larger_than_allowed_is_refused(server: FileServer) -> None:
    push(server, {"model.gguf": bytes(2000)})
    with pytest.raises(RefusedError, match="holds 2000 bytes, 1000 allowed") as caught:
        await look(server, most=1000)
    assert caught.value.reason is Reason.SIZE_EXCEEDED


async def test_a_read_that_breaks_off_is_tried_again(server: FileServer) -> None:
    push(server, sealed_blobs("release"))
    server.cut_after, server.cuts = 700, 9
    with pytest.raises(SekishoError) as caught:
        await look(server)
    assert (caught.value.reason, caught.value.retry) == (Reason.SOURCE_UNREACHABLE, True)


async def test_plain_weights_are_told_to_be_plain(server: FileServer) -> None:
    digest = push(server, {"model.gguf": b"weights"})
    found = await look(server)
    assert (found.sealed, found.refusal, found.artifact_digest) == (False, None, digest)
    assert found.policy_digest == POLICY


async def test_a_sealed_model_is_told_with_everything_that_its_signature_covers(server: FileServer) -> None:
    blobs = sealed_blobs("release", "stranger")
    digest = push(server, blobs)
    found = await look(server, digest=digest)
    assert (found.sealed, found.refusal, found.artifact_digest) == (True, None, digest)
    assert found.manifest_digest == digest_of(blobs[MANIFEST_NAME])
    assert (found.model, found.version, found.class_) == ("legal/reviewer", 7, "confidential+gdpr")
    assert (found.kms, found.key_id, found.key_version) == ("openbao", "transit/legal", "3")
    assert found.signed_by == ("release",)
    assert found.size_bytes == sum(len(blobs[f"files/0000{place}.sealed"]) for place in range(4))


async def test_annotations_are_not_believed_and_weights_are_not_read(server: FileServer) -> None:
    blobs = sealed_blobs("release")
    push(server, blobs)
    assert (await look(server)).class_ == "confidential+gdpr"
    read = {request.rpartition("/")[2] for request in server.requests if "/blobs/" in request}
    small = (MANIFEST_NAME, SIGNATURES_NAME, KEY_NAME)
    assert read == {digest_of(blobs[name]) for name in small}


async def test_a_sealed_model_may_lie_on_a_web_server(tmp_path: Path) -> None:
    keys = build_keys(tmp_path, "127.0.0.1")
    blobs = sealed_blobs("release")
    sums = "".join(f"{digest_of(data)[7:]}  {path}\n" for path, data in blobs.items())
    files = {f"/x/{path}": data for path, data in {**blobs, "SHA256SUMS": sums.encode()}.items()}
    with serve_files(FileServer(files), keys) as server:
        entry = SourceEntry(prefix=f"https://{server.host}/", ca_file=str(keys.ca))
        question = Question(f"https://{server.host}/x/", None, POLICY, "a")
        found = await inspect_source(question, entry, trusted("release"), most_bytes=1 << 20)
    assert (found.sealed, found.refusal, found.version, found.artifact_digest) == (True, None, 7, None)


# --- registries that lie


def nested(depth: int) -> bytes:
    return b'{"layers":' + b"[" * depth + b"]" * depth + b"}"


LIES: dict[str, bytes] = {
    "no JSON": b"{",
    "a list": b"[]",
    "deep": nested(100_000),
    "layers are a number": b'{"layers":7}',
    "a layer is a number": b'{"layers":[7]}',
    "a layer is nothing": b'{"layers":[null]}',
    "annotations are a list": b'{"layers":[{"annotations":[["a",1]],"digest":"sha256:0","size":1}]}',
    "annotations are a text": b'{"layers":[{"annotations":"x","digest":"sha256:0","size":1}]}',
    "a name is a number": b'{"layers":[{"annotations":{"org.opencontainers.image.title":7},"size":1}]}',
    "a digest is a list": b'{"layers":[{"annotations":{"org.opencontainers.image.title":"a"},"digest":[],"size":1}]}',
    "an index of a number": b'{"manifests":7}',
    "an index of nothing": b'{"manifests":null}',
    "an index of an object": b'{"manifests":{"a":1}}',
    "a platform is a text": b'{"manifests":[{"platform":"linux"},{"platform":7}]}',
    "a platform is a list": b'{"manifests":[{"platform":[1]},{"platform":{"os":["linux"]}}]}',
}


@pytest.mark.parametrize("name", LIES)
async def test_a_registry_whose_manifest_is_no_manifest_is_told_so(name: str, server: FileServer) -> None:
    server.files["/v2/models/x/manifests/1"] = LIES[name]
    with pytest.raises(RefusedError) as caught:
        await look(server)
    assert caught.value.reason is Reason.SOURCE_INVALID


@pytest.mark.parametrize("location", ["http://[", "//[::1", "https://a:b:c/", "http://\x00/", "http://a:99999999/"])
async def test_a_redirect_that_leads_nowhere_is_no_answer(location: str, server: FileServer) -> None:
    server.status, server.headers = 307, {"Location": location}
    with pytest.raises(SekishoError) as caught:
        await look(server)
    assert caught.value.reason in {Reason.SOURCE_INVALID, Reason.SOURCE_UNREACHABLE}


@pytest.mark.parametrize("realm", ["https://[", "http://[::1", "https://a:b:c/"])
async def test_a_token_service_that_is_nowhere_is_no_answer(realm: str, server: FileServer) -> None:
    server.status, server.headers = 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}
    with pytest.raises(SekishoError) as caught:
        await look(server)
    assert caught.value.reason in {Reason.SOURCE_INVALID, Reason.SOURCE_UNREACHABLE}


async def test_a_token_that_comes_in_pieces_is_a_token(server: FileServer) -> None:
    push(server, sealed_blobs("release"))
    token = "t" * 3000
    server.files["/token"] = json.dumps({"token": token}).encode()
    server.headers = {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token",service="x"'}
    server.refuse = lambda request: (
        0 if request.path.startswith("/token") or request.headers.get("Authorization") == f"Bearer {token}" else 401
    )
    server.pieces = 1000
    assert (await look(server)).sealed


async def test_a_token_longer_than_any_is_not_read_to_its_end(server: FileServer) -> None:
    server.files["/token"] = json.dumps({"token": "t" * (80 << 10)}).encode()
    server.headers = {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token",service="x"'}
    server.refuse = lambda request: 0 if request.path.startswith("/token") else 401
    with pytest.raises(RefusedError, match="sends no token") as caught:
        await look(server)
    assert caught.value.reason is Reason.SOURCE_INVALID
