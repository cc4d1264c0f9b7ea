"""The manifest of a sealed model: what was sealed, for whom, and what its ciphertext must be.

docs/reference/sealed-format.md is the contract; this module is its first implementation.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, Literal

from sekisho.seal.canonical import encode_canonical, parse_canonical
from sekisho.seal.facts import (
    ALGORITHM,
    BOM_NAME,
    COMMITMENT_BYTES,
    DERIVATION,
    FILES_FOLDER,
    FORMAT,
    FORMAT_VERSION,
    KEY_BYTES,
    KEY_NAME,
    MANIFEST_NAME,
    MAX_BOM_BYTES,
    MAX_FILES,
    MAX_FINDINGS,
    MAX_MANIFEST_BYTES,
    MAX_TABLE_BYTES,
    SALT_BYTES,
    SEGMENT_BYTES,
    SIGNATURES_NAME,
    TABLE_NAME,
    BlobFacts,
    ModelIdentity,
    ScanSummary,
    SealedFile,
    SealedManifest,
    UnverifiedManifest,
)
from sekisho.seal.fields import DIGEST, WORD, Fields, read_text, refuse

__all__ = [
    "ALGORITHM",
    "BOM_NAME",
    "COMMITMENT_BYTES",
    "DERIVATION",
    "FILES_FOLDER",
    "FORMAT",
    "FORMAT_VERSION",
    "KEY_BYTES",
    "KEY_NAME",
    "MANIFEST_NAME",
    "MAX_BOM_BYTES",
    "MAX_FILES",
    "MAX_FINDINGS",
    "MAX_MANIFEST_BYTES",
    "MAX_TABLE_BYTES",
    "SALT_BYTES",
    "SEGMENT_BYTES",
    "SIGNATURES_NAME",
    "TABLE_NAME",
    "BlobFacts",
    "ModelIdentity",
    "ScanSummary",
    "SealedFile",
    "SealedManifest",
    "UnverifiedManifest",
    "check_class",
    "check_path",
    "digest_of",
    "encode_manifest",
    "name_stored",
    "parse_manifest",
    "read_declared",
    "read_identity",
]

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,253}[A-Za-z0-9])?")
_CLASS: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}(\+[a-z0-9][a-z0-9-]{0,63}){0,64}")
_MAX_PATH: Final = 1024
_MAX_PART: Final = 255
_MAX_CLASS: Final = 1024
_MOST_TOLD: Final = 128
_MAX_CAPABILITIES: Final = 64
_MAX_EVALUATIONS: Final = 64
_FIELDS: Final = (
    "algorithm",
    "bom",
    "commitment",
    "declared",
    "derivation",
    "files",
    "format",
    "formatVersion",
    "model",
    "scan",
    "sealedAt",
    "segmentBytes",
    "table",
)
_FILE_FIELDS: Final = ("ciphertext", "digest", "path", "salt", "segments", "size", "storedAs")


def encode_manifest(manifest: SealedManifest) -> bytes:
    """Spell a manifest canonically; these bytes are what is signed.

    Raises:
        RefusedError: It breaks a rule of the format, so `parse_manifest` would refuse the bytes.
    """
    data = encode_canonical(_spell_manifest(manifest))
    parse_manifest(data)
    return data


def parse_manifest(data: bytes) -> UnverifiedManifest:
    """Read a manifest strictly; nobody has vouched for it yet.

    Raises:
        RefusedError: Not canonical, a field unknown, missing or out of bounds, files unsorted, a path that climbs.
    """
    value = parse_canonical(data, name=MANIFEST_NAME, max_bytes=MAX_MANIFEST_BYTES)
    _check_format(value)
    fields = Fields.of(value, name=MANIFEST_NAME, known=_FIELDS)
    files = fields.items("files", _read_file, most=MAX_FILES)
    _check_files(files)
    return UnverifiedManifest(
        SealedManifest(
            model=read_identity(value["model"], name=f"{MANIFEST_NAME}.model"),
            files=files,
            table=_read_blob(value["table"], f"{MANIFEST_NAME}.table", most=MAX_TABLE_BYTES),
            commitment=fields.hexadecimal("commitment", size=COMMITMENT_BYTES),
            sealed_at=fields.time("sealedAt"),
            scan=None if value["scan"] is None else _read_scan(value["scan"]),
            bom=None if value["bom"] is None else _read_blob(value["bom"], f"{MANIFEST_NAME}.bom", most=MAX_BOM_BYTES),
            declared=read_declared(value["declared"], name=f"{MANIFEST_NAME}.declared"),
        )
    )


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Spell the SHA-256 of `data`: "sha256:" and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def name_stored(index: int) -> str:
    """Name the ciphertext of the file at place `index` of the manifest."""
    return f"{FILES_FOLDER}/{index:05d}.sealed"


def read_identity(value: object, *, name: str) -> ModelIdentity:
    """Read {"class", "name", "version"} strictly."""
    fields = Fields.of(value, name=name, known=("class", "name", "version"))
    return ModelIdentity(
        name=fields.text("name", pattern=_NAME, most=255),
        version=fields.integer("version", least=1),
        data_class=check_class(fields.text("class", pattern=_CLASS, most=_MAX_CLASS), name=f"{name}.class"),
    )


def check_class(text: str, *, name: str) -> str:
    """Return a class as displayed whose compartments are sorted and each there once: one class has one spelling."""
    compartments = text.split("+")[1:]
    if compartments != sorted(set(compartments)):
        raise refuse(name, f'is "{text[:_MOST_TOLD]}"; compartments stand in order, each once')
    return text


def check_path(path: str, *, name: str) -> str:
    """Return `path` if it stays inside the folder it is joined to and has one spelling.

    Raises:
        RefusedError: Absolute, climbing, with a backslash, an empty or overlong part, not in Unicode's form NFC, or the
            name that the manifest itself has among the subjects of a signed statement.
    """
    if path == MANIFEST_NAME:
        raise refuse(name, f'is "{MANIFEST_NAME}", which is the manifest\'s own name; rename the file')
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or path[1:2] == ":":
        raise refuse(name, f'is "{path[:_MOST_TOLD]}"; a relative path that stays inside its folder is needed')
    if any(len(part.encode()) > _MAX_PART for part in parts):
        raise refuse(name, f"has a part longer than {_MAX_PART} bytes")
    if not unicodedata.is_normalized("NFC", path):
        raise refuse(name, "is not in Unicode's form NFC")
    return path


def _check_format(value: Mapping[str, Any]) -> None:
    expected = {
        "format": FORMAT,
        "formatVersion": FORMAT_VERSION,
        "algorithm": ALGORITHM,
        "derivation": DERIVATION,
        "segmentBytes": SEGMENT_BYTES,
    }
    for field, known in expected.items():
        found = value.get(field)
        if type(found) is not type(known) or found != known:
            raise refuse(f"{MANIFEST_NAME}.{field}", f"is {str(found)[:_MOST_TOLD]}, this release reads {known}")


def _check_files(files: tuple[SealedFile, ...]) -> None:
    if not files:
        raise refuse(f"{MANIFEST_NAME}.files", "is empty, a model has at least one file")
    folders = {file.path[: place.start()] for file in files for place in re.finditer("/", file.path)}
    previous = ""
    for index, file in enumerate(files):
        name = f"{MANIFEST_NAME}.files[{index}]"
        if file.path <= previous:
            raise refuse(f"{name}.path", f'"{file.path[:_MOST_TOLD]}" does not come after the one before')
        if file.path in folders:
            raise refuse(f"{name}.path", f'"{file.path[:_MOST_TOLD]}" is a file here and a folder elsewhere')
        if file.stored_as != name_stored(index):
            raise refuse(f"{name}.storedAs", f'is "{file.stored_as[:_MOST_TOLD]}", "{name_stored(index)}" is needed')
        previous = file.path


def _read_file(value: object, name: str) -> SealedFile:
    fields = Fields.of(value, name=name, known=_FILE_FIELDS)
    size = fields.integer("size")
    ciphertext = _read_blob(fields.value["ciphertext"], f"{name}.ciphertext")
    if ciphertext.size != size:
        raise refuse(name, f"has {size} bytes of plaintext and {ciphertext.size} of ciphertext; both are equal")
    return SealedFile(
        path=check_path(fields.text("path", most=_MAX_PATH), name=f"{name}.path"),
        size=size,
        digest=fields.text("digest", pattern=DIGEST, most=71),
        salt=fields.hexadecimal("salt", size=SALT_BYTES),
        segments=_read_segments(fields, size),
        ciphertext=ciphertext,
        stored_as=fields.text("storedAs", most=64),
    )


def _read_segments(fields: Fields, size: int) -> int:
    least = max(1, -(-size // SEGMENT_BYTES))
    most = min(max(1, size), 2**32)
    return fields.integer("segments", least=least, most=most)


def _read_blob(value: object, name: str, *, most: int | None = None) -> BlobFacts:
    fields = Fields.of(value, name=name, known=("digest", "size"))
    size = fields.integer("size") if most is None else fields.integer("size", most=most)
    return BlobFacts(size=size, digest=fields.text("digest", pattern=DIGEST, most=71))


def _read_scan(value: object) -> ScanSummary:
    fields = Fields.of(value, name=f"{MANIFEST_NAME}.scan", known=("at", "findings", "result", "scanner"))
    findings = fields.items("findings", read_text, most=MAX_FINDINGS)
    result: Literal["Clean", "Findings"] = "Findings" if findings else "Clean"
    if (found := fields.text("result", most=16)) != result:
        raise fields.refuse("result", f'is "{found}" with {len(findings)} findings')
    return ScanSummary(result=result, scanner=fields.text("scanner", most=256), at=fields.time("at"), findings=findings)


def read_declared(value: object, *, name: str) -> dict[str, Any]:
    """Read what an owner declares of a model strictly: any of licence, capabilities, risk and evaluations."""
    fields = Fields.of(value, name=name, known=(), optional=("licence", "capabilities", "risk", "evaluations"))
    declared: dict[str, Any] = {}
    if "licence" in fields.value:
        declared["licence"] = fields.text("licence", most=256)
    if "capabilities" in fields.value:
        declared["capabilities"] = list(fields.items("capabilities", read_text, most=_MAX_CAPABILITIES))
    if "risk" in fields.value:
        declared["risk"] = fields.text("risk", pattern=WORD, most=64)
    if "evaluations" in fields.value:
        declared["evaluations"] = list(fields.items("evaluations", _read_evaluation, most=_MAX_EVALUATIONS))
    return declared


def _read_evaluation(value: object, name: str) -> dict[str, str]:
    fields = Fields.of(value, name=name, known=("at", "name", "score"))
    return {"at": fields.time("at"), "name": fields.text("name", most=256), "score": fields.text("score", most=64)}


def _spell_manifest(manifest: SealedManifest) -> dict[str, Any]:
    model, scan = manifest.model, manifest.scan
    return {
        "algorithm": ALGORITHM,
        "bom": None if manifest.bom is None else _spell_blob(manifest.bom),
        "commitment": manifest.commitment.hex(),
        "declared": dict(manifest.declared),
        "derivation": DERIVATION,
        "files": [_spell_file(file) for file in manifest.files],
        "format": FORMAT,
        "formatVersion": FORMAT_VERSION,
        "model": {"class": model.data_class, "name": model.name, "version": model.version},
        "scan": None if scan is None else _spell_scan(scan),
        "sealedAt": manifest.sealed_at,
        "segmentBytes": SEGMENT_BYTES,
        "table": _spell_blob(manifest.table),
    }


def _spell_file(file: SealedFile) -> dict[str, Any]:
    return {
        "ciphertext": _spell_blob(file.ciphertext),
        "digest": file.digest,
        "path": file.path,
        "salt": file.salt.hex(),
        "segments": file.segments,
        "size": file.size,
        "storedAs": file.stored_as,
    }


def _spell_blob(blob: BlobFacts) -> dict[str, Any]:
    return {"digest": blob.digest, "size": blob.size}


def _spell_scan(scan: ScanSummary) -> dict[str, Any]:
    return {"at": scan.at, "findings": list(scan.findings), "result": scan.result, "scanner": scan.scanner}
