"""References of container images: the registry override, and what counts as named by digest."""

import re

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def override_registry(image: str, registry: str) -> str:
    """Replace the registry host of `image` by `registry`; an empty one, or one that is there already, changes nothing.

    A reference whose first part is no host (no dot, no colon, not "localhost") belongs to a default registry, so the
    override is put in front of it.
    """
    registry = registry.rstrip("/")
    if not registry or image.startswith(f"{registry}/"):
        return image
    first, slash, rest = image.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return f"{registry}/{rest if has_host else image}"


def has_digest(image: str) -> bool:
    """Tell whether the reference names its content."""
    return _DIGEST.search(image) is not None


def repository_of(image: str) -> str:
    """Return the reference without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
