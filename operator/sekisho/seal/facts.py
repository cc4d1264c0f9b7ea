"""The values a sealed model is described by, the names of its parts and their limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NewType

FORMAT: Final = "sekisho-seal-v1"
FORMAT_VERSION: Final = 1
ALGORITHM: Final = "AES-256-GCM"
DERIVATION: Final = "HKDF-SHA256"

MANIFEST_NAME: Final = "sekisho.json"
KEY_NAME: Final = "sekisho.key.json"
SIGNATURES_NAME: Final = "sekisho.sig.json"
TABLE_NAME: Final = "sekisho.table"
BOM_NAME: Final = "bom.cdx.json"
FILES_FOLDER: Final = "files"

MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
MAX_FILES: Final = 8192
MAX_TABLE_BYTES: Final = 64 * 1024 * 1024
MAX_BOM_BYTES: Final = 16 * 1024 * 1024
MAX_SIGNATURES_BYTES: Final = 8 * 1024 * 1024
MAX_FINDINGS: Final = 256
SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
SEGMENT_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model this is; it goes into every file key, so that no file fits another model, version or class.

    Attributes:
        name: The owner's name for it, "legal/contract-reviewer".
        version: Counts up; a version below one already accepted is refused.
        data_class: The class as displayed: level, then compartments in order, "confidential+gdpr".
    """

    name: str
    version: int
    data_class: str


@dataclass(frozen=True, slots=True)
class BlobFacts:
    """Size in bytes and digest ("sha256:" and 64 hexadecimal digits) of one blob."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """One file of the model.

    Attributes:
        path: Relative path of the plaintext, "/" between its parts.
        size: Bytes of plaintext, which are as many as those of ciphertext.
        digest: SHA-256 of the plaintext. A statement for signatures and people; integrity comes from the tags.
        salt: 32 random bytes of this file alone.
        segments: How many segments it is cut into, at least one.
        ciphertext: Facts of the stored blob.
        stored_as: Where the ciphertext stands in the folder: "files/00000.sealed", by place in the manifest.
    """

    path: str
    size: int
    digest: str
    salt: bytes
    segments: int
    ciphertext: BlobFacts
    stored_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSummary:
    """What the scan before sealing came to.

    Attributes:
        scanner: Name and version of what scanned.
        at: When, RFC 3339 UTC in whole seconds.
        findings: One line each; some exactly where the result is "Findings".
    """

    result: Literal["Clean", "Findings"]
    scanner: str
    at: str
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedManifest:
    """Everything about a sealed model that its signature covers.

    Attributes:
        files: Ascending by path (code points); the order of the table.
        table: Facts of the table of lengths and tags.
        commitment: Which data key opens it, without telling the key.
        sealed_at: RFC 3339 UTC in whole seconds.
        declared: What the owner declares: "licence", "capabilities", "risk", "evaluations".
    """

    model: ModelIdentity
    files: tuple[SealedFile, ...]
    table: BlobFacts
    commitment: bytes
    sealed_at: str
    scan: ScanSummary | None = None
    bom: BlobFacts | None = None
    declared: Mapping[str, Any]


UnverifiedManifest = NewType("UnverifiedManifest", SealedManifest)
"""A manifest that was parsed and whose signature nobody has checked yet."""
