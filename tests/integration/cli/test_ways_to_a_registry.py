"""Between the command line and a real registry: TLS, tokens, helpers, redirects, cuts, and what others copy."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.build import ensure_tool
from e2e.cluster.host import require_packages
from e2e.cluster.progress import silent
from tests.integration.cli.middleman import give_files, stand_between
from tests.integration.cli.tokens import run_token_service
from tests.integration.depot.registry import MANIFEST, Registry, run_registry
from tests.unit.cli.parts import Bench, build_bench, cli_environment, cli_words, read_refusal, run_cli
from tests.unit.depot.parts import Keys, build_keys

pytestmark = pytest.mark.integration

REPOSITORY = "models/reviewer"
BLOB = "files/00001.sealed"
ORAS = "oras.land/oras/cmd/oras@v1.3.6"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A sealed model with one blob of 20 MB, more than one chunk of an upload."""
    bench = build_bench(tmp_path_factory.mktemp("bench"), big=20_000_000)
    bench.seal()
    return bench


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("keys"), "127.0.0.1")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with run_registry(tmp_path / "registry") as registry:
        yield registry


def push(bench: Bench, host: str, *more: str, **environment: str) -> Any:
    return run_cli(["push", str(bench.out), f"oci://{host}/{REPOSITORY}:7", "--json", *more], **environment)


def pull(origin: str, out: Path, *more: str, **environment: str) -> Any:
    return run_cli(["pull", origin, "--out", str(out), "--json", *more], **environment)


def succeed(done: Any) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def verify(bench: Bench, folder: Path) -> None:
    """Open every segment of what came, with the owner's key."""
    words = ["verify", str(folder), "--unsafe-skip-signatures", "--kms", bench.kms, "--allow-unsafe-key", "--json"]
    assert succeed(run_cli(words))["checked"] == "every tag"


def login_file(folder: Path, host: str, password: str) -> str:
    folder.mkdir(exist_ok=True)
    word = base64.b64encode(f"owner:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": word}}}))
    return str(folder)


# --- TLS


def test_a_certificate_of_an_authority_that_nobody_named_is_not_trusted(
    bench: Bench, tmp_path: Path, keys: Keys
) -> None:
    with run_registry(tmp_path / "registry", keys=keys) as registry:
        done = push(bench, registry.host)
        assert done.returncode == 8
        assert read_refusal(done)[1].endswith("its certificate is not trusted; name its CA with --ca-file")
        missing = push(bench, registry.host, "--ca-file", str(tmp_path / "absent"))
        assert read_refusal(missing)[0] == "CredentialsMissing"
        uri = succeed(push(bench, registry.host, "--ca-file", str(keys.ca)))["storageUri"]
        succeed(pull(uri, tmp_path / "pulled", "--ca-file", str(keys.ca)))
    verify(bench, tmp_path / "pulled")


# --- who asks


def test_a_registry_with_tokens_is_pushed_to_by_its_user_and_pulled_from_by_anybody(
    bench: Bench, tmp_path: Path, keys: Keys
) -> None:
    with (
        run_token_service(keys) as tokens,
        run_registry(tmp_path / "registry", more=tokens.settings()) as registry,
    ):
        wrong = login_file(tmp_path / "wrong", registry.host, "wrong")
        done = push(bench, registry.host, "--plain-http", DOCKER_CONFIG=wrong)
        assert done.returncode == 3
        reason, message = read_refusal(done)
        assert (reason, "its login is refused there" in message) == ("SourceDenied", True)
        nobody = push(bench, registry.host, "--plain-http", DOCKER_CONFIG=str(tmp_path))
        assert read_refusal(nobody)[1].endswith("run `docker login` for it")
        right = login_file(tmp_path / "right", registry.host, "right")
        uri = succeed(push(bench, registry.host, "--plain-http", DOCKER_CONFIG=right))["storageUri"]
        assert ({"pull", "push"}, "owner") in [
            (set(scope.split(":")[2].split(",")), who) for scope, who in tokens.asked
        ]
        succeed(pull(uri, tmp_path / "pulled", "--plain-http", DOCKER_CONFIG=str(tmp_path)))
        assert tokens.asked[-1] == (f"repository:{REPOSITORY}:pull", "")
    verify(bench, tmp_path / "pulled")


def test_a_token_service_that_sends_no_token_is_refused(bench: Bench, tmp_path: Path, keys: Keys) -> None:
    with (
        run_token_service(keys) as tokens,
        run_registry(tmp_path / "registry", more=tokens.settings()) as registry,
    ):
        tokens.babbles = True
        done = push(bench, registry.host, "--plain-http", DOCKER_CONFIG=str(tmp_path))
    assert done.returncode == 3
    assert read_refusal(done)[1].endswith("sends no token")


def test_a_credential_helper_on_the_path_is_asked(bench: Bench, tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        f"#!/bin/sh\n[ \"$1\" = get ] || exit 2\ncat > {tmp_path}/asked\n"
        'echo \'{"ServerURL": "x", "Username": "reader", "Secret": "right"}\'\n'
    )  # fmt: skip
    helper.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    with run_registry(tmp_path / "registry", password="right") as registry:
        (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "tests"}}))
        succeed(push(bench, registry.host, "--plain-http", DOCKER_CONFIG=str(tmp_path), PATH=path))
        assert (tmp_path / "asked").read_text() == registry.host
        (tmp_path / "config.json").write_text(json.dumps({"credsStore": "absent"}))
        done = push(bench, registry.host, "--plain-http", DOCKER_CONFIG=str(tmp_path), PATH=path)
    assert done.returncode == 3
    assert read_refusal(done)[0] == "CredentialsMissing"
    assert "docker-credential-absent cannot be run" in read_refusal(done)[1]


# --- redirects


def redirect_to(host: str) -> dict[str, Any]:
    return {"middleware": {"storage": [{"name": "redirect", "options": {"baseurl": f"http://{host}/"}}]}}


def test_a_redirect_to_other_storage_is_followed_without_our_login(bench: Bench, tmp_path: Path) -> None:
    with (
        give_files(tmp_path / "registry" / "data") as store,
        run_registry(tmp_path / "registry", password="right", more=redirect_to(store.host)) as registry,
    ):
        word = base64.b64encode(b"reader:right").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": word}}}))
        uri = succeed(push(bench, registry.host, "--plain-http", DOCKER_CONFIG=str(tmp_path)))["storageUri"]
        succeed(pull(uri, tmp_path / "pulled", "--plain-http", DOCKER_CONFIG=str(tmp_path)))
    assert len([item for item in store.requests if item.method == "GET"]) == 6  # each file that is not empty, once
    assert not [item for item in store.requests if "Authorization" in item.headers]
    verify(bench, tmp_path / "pulled")


def test_a_redirect_away_from_https_is_not_followed(bench: Bench, tmp_path: Path, keys: Keys) -> None:
    with give_files(tmp_path / "registry" / "data") as store:
        with run_registry(tmp_path / "registry", keys=keys) as registry:
            uri = succeed(push(bench, registry.host, "--ca-file", str(keys.ca)))["storageUri"]
        with run_registry(tmp_path / "registry", keys=keys, more=redirect_to(store.host)) as registry:
            moved = f"oci://{registry.host}/{uri.removeprefix('oci://').partition('/')[2]}"
            done = pull(moved, tmp_path / "pulled", "--ca-file", str(keys.ca))
    assert done.returncode == 3
    reason, message = read_refusal(done)
    assert (reason, "leads away from https" in message) == ("SourceDenied", True)
    assert store.requests == []
    assert not (tmp_path / "pulled").exists()


# --- cuts


def test_a_pull_that_is_cut_goes_on_where_it_was(bench: Bench, tmp_path: Path, registry: Registry) -> None:
    with stand_between(registry.host) as middleman:
        uri = succeed(push(bench, middleman.host, "--plain-http"))["storageUri"]
        middleman.cut_after, middleman.cuts = 5_000_000, 3
        succeed(pull(uri, tmp_path / "pulled", "--plain-http"))
    ranges = [item.headers["Range"] for item in middleman.seen("GET", "/blobs/") if "Range" in item.headers]
    assert ranges == ["bytes=5000000-", "bytes=10000000-", "bytes=15000000-"]
    verify(bench, tmp_path / "pulled")


def test_a_registry_without_ranges_is_read_from_the_beginning_and_nothing_is_kept_twice(
    bench: Bench, tmp_path: Path, registry: Registry
) -> None:
    with stand_between(registry.host) as middleman:
        uri = succeed(push(bench, middleman.host, "--plain-http"))["storageUri"]
        middleman.cut_after, middleman.cuts, middleman.forgets_ranges = 5_000_000, 1, True
        succeed(pull(uri, tmp_path / "pulled", "--plain-http"))
    assert (tmp_path / "pulled" / BLOB).read_bytes() == (bench.out / BLOB).read_bytes()
    verify(bench, tmp_path / "pulled")


def test_a_registry_that_always_breaks_off_is_given_up_and_what_came_is_kept(
    bench: Bench, tmp_path: Path, registry: Registry
) -> None:
    with stand_between(registry.host) as middleman:
        uri = succeed(push(bench, middleman.host, "--plain-http"))["storageUri"]
        middleman.cut_after, middleman.cuts = 1_000_000, 100
        done = pull(uri, tmp_path / "pulled", "--plain-http")
        assert done.returncode == 8, done.stderr
        reason, message = read_refusal(done)
        assert reason == "SourceUnreachable"
        assert message.endswith("run the same command again: what came is kept")
        assert not (tmp_path / "pulled").exists()
        middleman.cuts, had = 0, (tmp_path / "pulled.partial" / BLOB).stat().st_size
        assert had == 5_000_000
        succeed(pull(uri, tmp_path / "pulled", "--plain-http"))
        assert middleman.seen("GET", "/blobs/")[-1].headers["Range"] == f"bytes={had}-"
    verify(bench, tmp_path / "pulled")


def test_a_killed_pull_goes_on_with_what_it_had(bench: Bench, tmp_path: Path, registry: Registry) -> None:
    partial = tmp_path / "pulled.partial" / BLOB
    with stand_between(registry.host) as middleman:
        uri = succeed(push(bench, middleman.host, "--plain-http"))["storageUri"]
        middleman.cut_after, middleman.cuts, middleman.hangs, middleman.sent = 8_000_000, 1, True, 0
        words = cli_words(["pull", uri, "--out", str(tmp_path / "pulled"), "--plain-http", "--json"])
        with subprocess.Popen(words, env=cli_environment(), stderr=subprocess.DEVNULL) as process:
            until = time.monotonic() + 120
            while not partial.exists() or partial.stat().st_size < 6_000_000:
                assert time.monotonic() < until, "nothing came within 120 s"
                time.sleep(0.01)
            process.kill()
        had, middleman.hangs, middleman.cuts = partial.stat().st_size, False, 0
        assert not (tmp_path / "pulled").exists()
        succeed(pull(uri, tmp_path / "pulled", "--plain-http"))
    assert [item.headers["Range"] for item in middleman.seen("GET", "/blobs/") if "Range" in item.headers] == [
        f"bytes={had}-"
    ]
    verify(bench, tmp_path / "pulled")


def test_a_push_whose_answer_is_lost_ends_with_the_whole_blob(bench: Bench, tmp_path: Path, registry: Registry) -> None:
    with stand_between(registry.host) as middleman:
        middleman.lost_answers = 2
        uri = succeed(push(bench, middleman.host, "--plain-http"))["storageUri"]
        succeed(pull(uri, tmp_path / "pulled", "--plain-http"))
    verify(bench, tmp_path / "pulled")


# --- what the manifest does not name


def test_other_ciphertext_than_the_manifest_names_is_refused_before_it_is_fetched(
    bench: Bench, tmp_path: Path, registry: Registry
) -> None:
    succeed(push(bench, registry.host, "--plain-http"))
    request = urllib.request.Request(
        f"http://{registry.host}/v2/{REPOSITORY}/manifests/7", headers={"Accept": MANIFEST}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        manifest = json.load(answer)
    other = registry.push_blob(REPOSITORY, bytes(1000))
    layer = next(item for item in manifest["layers"] if BLOB in item["annotations"].values())
    layer |= {"digest": other, "size": 1000}
    registry.put_manifest(REPOSITORY, "other", manifest, MANIFEST)
    with stand_between(registry.host) as middleman:
        done = pull(f"oci://{middleman.host}/{REPOSITORY}:other", tmp_path / "pulled", "--plain-http")
    assert done.returncode == 4
    reason, message = read_refusal(done)
    assert reason == "SealBroken"
    assert f"{BLOB} is {other} of 1000 bytes in the artifact, and sha256:" in message
    assert len(middleman.seen("GET", "/blobs/")) == 4  # manifest, table, wrapped key, bill of materials
    assert not (tmp_path / "pulled").exists()


# --- standard clients


def copy_by_skopeo(source: str, target: str) -> None:
    require_packages({"skopeo": "skopeo"}, silent)
    flags = ["--insecure-policy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    words = ["skopeo", "copy", *flags, f"docker://{source}", f"docker://{target}"]
    subprocess.run(words, check=True, capture_output=True, timeout=120)


def run_oras(*words: str) -> None:
    program = ensure_tool(ORAS, silent)
    subprocess.run([str(program), *words], check=True, capture_output=True, timeout=120)


def copy_by_oras(source: str, target: str) -> None:
    run_oras("copy", "--from-plain-http", "--to-plain-http", source, target)


@pytest.mark.parametrize("copy", [copy_by_skopeo, copy_by_oras])
def test_a_copy_by_a_standard_client_between_registries_keeps_digest_and_seal(
    bench: Bench, tmp_path: Path, registry: Registry, copy: Callable[[str, str], None]
) -> None:
    facts = succeed(push(bench, registry.host, "--plain-http"))
    with run_registry(tmp_path / "mirror") as mirror:
        copy(f"{registry.host}/{REPOSITORY}:7", f"{mirror.host}/closed/reviewer:7")
        shutil.rmtree(registry.storage)
        succeed(pull(f"oci://{mirror.host}/closed/reviewer@{facts['digest']}", tmp_path / "pulled", "--plain-http"))
    verify(bench, tmp_path / "pulled")


def test_what_oras_pulls_is_the_sealed_folder(bench: Bench, tmp_path: Path, registry: Registry) -> None:
    succeed(push(bench, registry.host, "--plain-http"))
    run_oras("pull", "--plain-http", f"{registry.host}/{REPOSITORY}:7", "-o", str(tmp_path / "pulled"))
    verify(bench, tmp_path / "pulled")
