"""References of images."""

import pytest

from sekisho.render.images import has_digest, override_registry, repository_of

DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "registry", "expected"),
    [
        ("docker.io/vllm/vllm:1", "", "docker.io/vllm/vllm:1"),
        ("docker.io/vllm/vllm:1", "closed:5000", "closed:5000/vllm/vllm:1"),
        ("localhost/agent" + DIGEST, "closed:5000/", "closed:5000/agent" + DIGEST),
        ("host:5000/a/b:1", "closed/mirror", "closed/mirror/a/b:1"),
        ("vllm/vllm:1", "closed:5000", "closed:5000/vllm/vllm:1"),
        ("busybox:1", "closed:5000", "closed:5000/busybox:1"),
        ("closed/mirror/a/b:1", "closed/mirror", "closed/mirror/a/b:1"),
    ],
)
def test_the_override_replaces_the_host_once(image: str, registry: str, expected: str) -> None:
    assert override_registry(image, registry) == expected
    assert override_registry(expected, registry) == expected


def test_a_tag_is_not_a_digest() -> None:
    assert not has_digest("registry/agent:1.0")
    assert not has_digest("registry/agent@sha256:short")
    assert has_digest("registry/agent:1.0" + DIGEST)


@pytest.mark.parametrize("image", ["host:5000/a/b:1" + DIGEST, "host:5000/a/b:1", "host:5000/a/b"])
def test_a_repository_is_the_reference_without_tag_and_digest(image: str) -> None:
    assert repository_of(image) == "host:5000/a/b"
