"""Which source a URI belongs to; settings; the canary."""

from pathlib import Path

import pytest

from sekisho.depot.canary import MAX_SEEN, CanaryListener
from sekisho.depot.settings import SourceEntry, read_settings, read_sources
from sekisho.depot.sources.choice import check_uri, choose_source
from sekisho.depot.sources.listing import check_path
from sekisho.depot.sources.oci import parse_reference
from sekisho.errors import Reason, RefusedError


@pytest.mark.parametrize(
    ("prefix", "uri"),
    [
        ("oci://registry.closed", "oci://registry.closed.evil.test/a"),
        ("oci://registry.closed", "oci://registry.closed:5000/a"),
        ("https://host.test/models", "https://host.test/models-of-others/a"),
        ("s3://weights", "s3://weights-public/a"),
        ("oci://registry.closed/team", "oci://registry.closed/teams/a"),
    ],
)
def test_a_prefix_ends_at_a_border_and_never_within_a_name(prefix: str, uri: str) -> None:
    with pytest.raises(RefusedError) as caught:
        choose_source(uri, [SourceEntry(prefix=prefix)], anonymous=False, namespace="a")
    assert caught.value.reason is Reason.SOURCE_NOT_ALLOWED
    assert prefix in caught.value.message


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("https://user:secret@host.test/a", "carries a user name"),
        ("https://host.test/models/../private/a", "climbing parts"),
        ("https://host.test//a", "empty or climbing"),
        ("https://host.test/%2e%2e/a", "escaped characters"),
        ("https://host.test/a?token=x", "has a query"),
        ("http://host.test/a", "does not begin with one of oci://, https://, s3://"),
        ("https://host.test:notaport/a", "cannot be parsed"),
    ],
)
def test_a_uri_that_could_mean_something_else_is_refused(uri: str, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_uri(uri)
    assert caught.value.reason is Reason.STORAGE_URI_INVALID
    assert message in caught.value.message
    assert "secret" not in caught.value.message


def test_the_longest_fitting_prefix_wins_and_anonymous_sources_must_be_allowed() -> None:
    entries = [SourceEntry(prefix="oci://r.test/"), SourceEntry(prefix="oci://r.test/team", region="x")]
    assert choose_source("oci://r.test/team:v1", entries, anonymous=False, namespace="a").region == "x"
    assert choose_source("oci://r.test/other:v1", entries, anonymous=False, namespace="a").region is None
    assert choose_source("https://free.test/a", entries, anonymous=True, namespace="a").credentials_dir is None


SHARED = [
    SourceEntry(prefix="oci://r.test/"),
    SourceEntry(prefix="oci://r.test/legal/", namespaces=("legal",)),
    SourceEntry(prefix="oci://r.test/legal/open/"),
    SourceEntry(prefix="s3://weights"),
    SourceEntry(prefix="s3://weights/legal", namespaces=("legal", "audit")),
    SourceEntry(prefix="https://host.test/legal/", namespaces=("legal",)),
]


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("oci://r.test/legal/reviewer:1", {"legal"}),
        ("oci://r.test/legal/open/reviewer:1", {"legal", "audit", "team", ""}),
        ("oci://r.test/legalese/reviewer:1", {"legal", "audit", "team", ""}),
        ("s3://weights/legal/reviewer", {"legal", "audit"}),
        ("s3://weights/legal", {"legal", "audit"}),
        ("s3://weights/other", {"legal", "audit", "team", ""}),
        ("s3://weights", {"legal", "audit"}),
        ("s3://weights/", {"legal", "audit"}),
        ("https://host.test/legal/a.gguf", {"legal"}),
    ],
)
def test_a_source_that_names_namespaces_is_for_no_other(uri: str, allowed: set[str], *, anonymous: bool) -> None:
    for namespace in ("legal", "audit", "team", ""):
        if namespace in allowed:
            assert uri.startswith(choose_source(uri, SHARED, anonymous=anonymous, namespace=namespace).prefix)
            continue
        told = f"is not for namespace {namespace}: the source .* names others"
        with pytest.raises(RefusedError, match=told) as caught:
            choose_source(uri, SHARED, anonymous=anonymous, namespace=namespace)
        assert caught.value.reason is Reason.SOURCE_NOT_ALLOWED


@pytest.mark.parametrize(
    "uri",
    [
        "oci://R.test/legal/a", "oci://r.test:443/legal/a", "oci://r.test/./legal/a", "oci://r.test//legal/a",
        "oci://r.test./legal/a", "https://HOST.test/legal/a", "https://host.test:443/legal/a", "https://host.test/%6cegal/a",
        "s3://weights//legal/a", "s3://weights/x/../legal/a", "s3://Weights/legal/a",
    ],
)  # fmt: skip
def test_no_other_spelling_leads_past_a_sources_namespaces(uri: str) -> None:
    with pytest.raises(RefusedError):
        choose_source(uri, SHARED, anonymous=False, namespace="team")


@pytest.mark.parametrize("uri", ["oci://r.test", "oci://r.test/UPPER", "oci://r.test/a@sha256:12", "oci://r.test/a:"])
def test_a_reference_that_names_no_artifact_is_refused(uri: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_reference(uri)
    assert caught.value.reason is Reason.STORAGE_URI_INVALID


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a", "a/../b", ".hidden", "a//b", "a\\b", "", "é", "a\nb", "x" * 513]
)
def test_a_path_that_leaves_the_folder_or_hides_is_refused(path: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_path(path, uri="s3://b/c")
    assert caught.value.reason is Reason.SOURCE_INVALID


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSONDecodeError"),
        ('[{"prefix": "ftp://a/"}]', "0.prefix"),
        ('[{"prefix": "oci://a/", "password": "hunter2"}]', "0.password"),
    ],
)
def test_a_list_of_sources_that_is_wrong_stops_the_start_without_repeating_it(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(RefusedError) as caught:
        read_sources(tmp_path / "s.json")
    assert caught.value.reason is Reason.INVALID_SPEC
    assert message in caught.value.message
    assert "hunter2" not in caught.value.message


def test_settings_name_the_variable_that_is_wrong_and_have_safe_defaults() -> None:
    with pytest.raises(RefusedError, match="SEKISHO_CACHE_SIZE cannot be used"):
        read_settings({"SEKISHO_CACHE_SIZE": "much"})
    assert read_settings({}).anonymous_sources is False
    assert read_settings({"SEKISHO_CACHE_SIZE": "1Gi"}).cache_bytes == 1 << 30


def test_the_canary_remembers_a_bounded_number_of_visitors_and_not_itself() -> None:
    now = [10.0]
    canary = CanaryListener("127.0.0.1", 0, clock=lambda: now[0])
    canary.note("127.0.0.1")
    canary.note("::1")
    canary.note("nonsense")
    assert canary.last_seen(frozenset({"127.0.0.1", "::1", "nonsense"}), after=0) is None
    canary.note("::ffff:10.8.0.5")
    assert canary.last_seen(frozenset({"10.8.0.5"}), after=0) == ("10.8.0.5", 10.0)
    assert canary.last_seen(frozenset({"10.8.0.5"}), after=10.0) is None
    for number in range(MAX_SEEN):
        canary.note(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}")
    assert canary.last_seen(frozenset({"10.8.0.5"}), after=0) is None
