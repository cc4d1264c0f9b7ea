"""Canonical bytes of manifests and their digests: the same input always gives the same bytes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sekisho.api import names

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def encode_canonical(value: Any) -> bytes:
    """Encode as JSON with sorted keys and nothing between tokens."""
    return _ENCODER.encode(value).encode()


def digest_of(value: Any) -> str:
    """Return "sha256:…" over the canonical bytes."""
    return f"sha256:{hashlib.sha256(encode_canonical(value)).hexdigest()}"


def stamp(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest with the digest of all of it (but the stamp itself) as an annotation."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), names.APPLIED_DIGEST_ANNOTATION: digest_of(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": dict(sorted(annotations.items()))}}
