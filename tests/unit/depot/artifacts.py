"""Sealed models as artifacts of a registry that is a plain file server, and how they are spoiled."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sekisho.depot.settings import SourceEntry
from sekisho.seal.facts import KEY_NAME, MANIFEST_NAME, SIGNATURES_NAME
from sekisho.seal.keys import WrappedKey, encode_wrapped
from sekisho.seal.manifest import ModelIdentity, ScanSummary, encode_manifest, parse_manifest
from tests.unit.depot.parts import FileServer
from tests.unit.seal.sealing import IDENTITY, seal
from tests.unit.seal.signing import ed25519_key, envelope_of

AT = "2026-11-25T06:00:00Z"
KEY_FILE = encode_wrapped(WrappedKey("openbao", "transit/legal", "3", b"wrapped"))


def sealed_blobs(*signers: str, identity: ModelIdentity = IDENTITY, shown: bool = False) -> dict[str, bytes]:
    """Seal a small model and have it signed by the keys that tests make of these names.

    Args:
        signers: Who signs.
        identity: Which model it is.
        shown: Whether a clean scan and the evaluation "safety" are part of the manifest.
    """
    blobs = seal(identity=identity).blobs
    if shown:
        scan = ScanSummary(result="Clean", scanner="sekisho 1", at=AT, findings=())
        declared = {"evaluations": [{"at": AT, "name": "safety", "score": "0.97"}]}
        manifest = replace(parse_manifest(blobs[MANIFEST_NAME]), scan=scan, declared=declared)
        blobs[MANIFEST_NAME] = encode_manifest(manifest)
    if signers:
        blobs[SIGNATURES_NAME] = envelope_of(blobs[MANIFEST_NAME], *(ed25519_key(name) for name in signers))
    return {**blobs, KEY_NAME: KEY_FILE}


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def push(server: FileServer, blobs: Mapping[str, bytes], *, name: str = "models/x", tag: str = "1") -> str:
    """Store files as one artifact; returns the digest of its manifest."""
    layers = [_layer(server, name, path, data) for path, data in blobs.items()]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers}
    ).encode()
    for reference in (tag, digest_of(manifest)):
        server.files[f"/v2/{name}/manifests/{reference}"] = manifest
    return digest_of(manifest)


def _layer(server: FileServer, name: str, path: str, data: bytes) -> dict[str, Any]:
    server.files[f"/v2/{name}/blobs/{digest_of(data)}"] = data
    annotations = {"org.opencontainers.image.title": path, "sekisho.dev/classification": "public"}
    return {"digest": digest_of(data), "size": len(data), "annotations": annotations}


def uri_of(server: FileServer, *, name: str = "models/x", tag: str = "1") -> str:
    return f"oci://{server.host}/{name}:{tag}"


def entry_of(server: FileServer) -> SourceEntry:
    return SourceEntry(prefix=f"oci://{server.host}/", plain_http=True)
