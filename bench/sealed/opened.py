"""Open a sealed folder that this run has made itself, so that no signature is needed."""

from pathlib import Path

from sekisho.loader.opening import SealedModel, derive_keys, open_model
from sekisho.seal.facts import MANIFEST_NAME
from sekisho.seal.manifest import parse_manifest


def open_sealed(folder: Path, data_key: str) -> SealedModel:
    """Parse the manifest, derive all file keys from the data key in hexadecimal, check the folder."""
    manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes())
    return open_model(folder, manifest, derive_keys(bytes.fromhex(data_key), manifest))
