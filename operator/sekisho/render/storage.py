"""Where weights come from: the parsed storageUri, and the volume that will hold them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sekisho.errors import Reason, RefusedError

Scheme = Literal["oci", "https", "s3", "pvc"]

WEIGHTS_PATH: Final = "/models"
CIPHERTEXT_PATH: Final = "/sealed"
HANDOVER_PATH: Final = "/run/sekisho"
HANDOVER_SOCKET: Final = f"{HANDOVER_PATH}/keys"
MIB: Final = 1 << 20
BESIDE_BYTES: Final = 256 * MIB
"""Room in memory for what lies beside weights that the engine decrypts itself: configuration, tokenizer, templates."""
_SLACK_BYTES = 16 * MIB
_SEAL_BYTES = 128 * MIB
_SOCKET_LIMIT = "1Mi"
_HOST = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$")
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_CLAIM = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_REPOSITORY = re.compile(r"^[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$")
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Storage:
    """A source of weights that can be used.

    Attributes:
        place: Host (oci, https), bucket (s3) or claim (pvc).
        path: What follows, without a leading slash; may be empty for s3 and pvc.
        digest: The digest that an oci reference ends with.
    """

    scheme: Scheme
    uri: str
    place: str
    path: str
    digest: str | None = None

    @property
    def is_mounted(self) -> bool:
        """Whether the pod mounts the weights itself, so that nothing is fetched."""
        return self.scheme == "pvc"


def parse_storage_uri(uri: str) -> Storage:
    """Parse a storageUri.

    Raises:
        RefusedError: StorageUriInvalid, naming what disagrees and how it is written.
    """
    scheme, separator, rest = uri.partition("://")
    check = _CHECKS.get(scheme)
    if not separator or check is None:
        raise _refuse(uri, "it begins with none of oci://, https://, s3:// and pvc://")
    place, _, path = rest.partition("/")
    if any(part in ("..", ".", "") for part in path.rstrip("/").split("/")) and path:
        raise _refuse(uri, 'its path holds an empty part, "." or ".."')
    problem = check(place, path)
    if problem:
        raise _refuse(uri, problem)
    found = _DIGEST.search(path) if scheme == "oci" else None
    return Storage(scheme, uri, place, path.rstrip("/"), found.group(1) if found else None)  # type: ignore[arg-type]


def _check_oci(place: str, path: str) -> str:
    if not _HOST.match(place):
        return "an oci reference begins with a registry's host, as in oci://registry.example:5000/models/name:1"
    if not _REPOSITORY.match(path):
        return "an oci reference ends with repository and tag or digest, as in oci://registry.example/models/name:1"
    return ""


def _check_https(place: str, path: str) -> str:
    if "@" in place:
        return "it holds credentials; they belong into a Secret that the depot's settings name"
    if not _HOST.match(place):
        return "it has no host, as in https://files.example/models/name.gguf"
    return "" if path else "it names no file, as in https://files.example/models/name.gguf"


def _check_s3(place: str, path: str) -> str:
    return "" if _BUCKET.match(place) else "its bucket is not a bucket's name, as in s3://bucket/models/name"


def _check_pvc(place: str, path: str) -> str:
    if not _CLAIM.match(place):
        return "it names no claim of the service's namespace, as in pvc://claim/models/name"
    return (
        "" if not re.search(r"[?&=@:%+,~]", path) else "a path in a claim holds letters, digits, '.', '_' and '-' only"
    )


_CHECKS: Mapping[str, Callable[[str, str], str]] = {
    "oci": _check_oci, "https": _check_https, "s3": _check_s3, "pvc": _check_pvc,
}  # fmt: skip


def _refuse(uri: str, problem: str) -> RefusedError:
    shown = re.sub(r"//[^/@]*@", "//…@", uri)[:200]
    return RefusedError(Reason.STORAGE_URI_INVALID, f'storageUri "{shown}" cannot be used: {problem}')


def bound_weights_bytes(size_bytes: int | None, max_bytes: int) -> int:
    """Bound the volume of fetched weights: 5 % and 16 MiB above their size, or `max_bytes` where that is unknown."""
    if size_bytes is None:
        return max_bytes
    return min(size_bytes + size_bytes // 20 + _SLACK_BYTES, max_bytes)


def render_weights_volume(storage: Storage, *, limit_bytes: int, in_memory: bool) -> dict[str, Any]:
    """Render the volume "weights"; in memory where weights are unsealed, so that plain weights never reach a disk."""
    if storage.is_mounted:
        return {"name": "weights", "persistentVolumeClaim": {"claimName": storage.place, "readOnly": True}}
    volume = {"sizeLimit": f"{-(-limit_bytes // MIB)}Mi"}
    return {"name": "weights", "emptyDir": {**({"medium": "Memory"} if in_memory else {}), **volume}}


def render_weights_mount(storage: Storage, *, read_only: bool) -> dict[str, Any]:
    """Render a container's mount of the weights; a claim is always mounted read-only, below its path."""
    mount: dict[str, Any] = {"name": "weights", "mountPath": WEIGHTS_PATH, "readOnly": read_only or storage.is_mounted}
    if storage.is_mounted and storage.path:
        mount["subPath"] = storage.path
    return mount


def render_handover_volumes(*, limit_bytes: int) -> list[dict[str, Any]]:
    """Render the volumes of weights that the engine decrypts: ciphertext, which may lie on a disk, and the socket."""
    limit = limit_bytes + _SEAL_BYTES
    return [
        {"name": "sealed", "emptyDir": {"sizeLimit": f"{-(-limit // MIB)}Mi"}},
        {"name": "handover", "emptyDir": {"medium": "Memory", "sizeLimit": _SOCKET_LIMIT}},
    ]


def render_handover_mounts(*, read_only: bool) -> list[dict[str, Any]]:
    """Render a container's mounts of these; who only reads can still connect to the socket."""
    return [
        {"name": "sealed", "mountPath": CIPHERTEXT_PATH, "readOnly": read_only},
        {"name": "handover", "mountPath": HANDOVER_PATH, "readOnly": read_only},
    ]
