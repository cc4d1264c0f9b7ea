"""Wrap with Google Cloud KMS (client: google-cloud-kms over REST). The context is additional authenticated data.

Every request and answer carries CRC32C of its fields, as Google asks of clients: what arrives damaged is not used. A
version is revoked by disabling or destroying it; Google's answer to a decryption does not name the version it used.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kms import failures, service
from sekisho.kms.endpoint import check_endpoint
from sekisho.kms.service import DEFAULT_TIMEOUT_SECONDS, KeyState
from sekisho.seal.keys import KeyContext, WrappedKey

KMS: Final = "gcp"
_PART: Final = r"[A-Za-z0-9_:.-]{1,63}"
_KEY_ID: Final = re.compile(rf"projects/{_PART}/locations/{_PART}/keyRings/{_PART}/cryptoKeys/{_PART}")
_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
_PERMISSIONS: Final = {
    "encrypt": "cloudkms.cryptoKeyVersions.useToEncrypt",
    "decrypt": "cloudkms.cryptoKeyVersions.useToDecrypt",
    "get_crypto_key": "cloudkms.cryptoKeys.get",
    "list_crypto_key_versions": "cloudkms.cryptoKeyVersions.list",
}
_MAX_VERSIONS: Final = 1000
_DELETING: Final = frozenset({"DESTROY_SCHEDULED", "DESTROYED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleSettings:
    """Say how to reach Google; credentials come from where its libraries look (workload identity, environment).

    Attributes:
        endpoint: Of a regional or private endpoint; https, or http on this machine.
        credentials_file: A service account's key file, instead. For federation set GOOGLE_APPLICATION_CREDENTIALS.
        timeout_seconds: To connect, and again for each read.
        minimum_version: Older versions are refused, by what the wrapped key says of itself: see the module.
    """

    endpoint: str = ""
    credentials_file: Path | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    minimum_version: int = 1


class GoogleKms:
    """Symmetric keys; a key's id is projects/P/locations/L/keyRings/R/cryptoKeys/K."""

    def __init__(self, settings: GoogleSettings) -> None:
        check_endpoint(KMS, settings.endpoint)
        self._settings = settings
        self._client = _build_client(settings)

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        """Encrypt in KMS with the primary version."""
        service.check_data_key(data_key)
        aad = context.encode()
        answer = self._ask(
            "encrypt", key_id,
            {
                "name": key_id, "plaintext": data_key, "plaintext_crc32c": _crc(data_key),
                "additional_authenticated_data": aad, "additional_authenticated_data_crc32c": _crc(aad),
            },
        )  # fmt: skip
        if not (answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c):
            raise failures.unavailable(KMS, "it did not confirm the checksums of the request")
        _check_crc(answer.ciphertext, answer.ciphertext_crc32c)
        version = _read_version(str(answer.name), key_id)
        service.check_version(KMS, key_id, version, self._settings.minimum_version)
        data = service.check_fresh(bytes(answer.ciphertext), KMS)
        return WrappedKey(kms=KMS, key_id=key_id, key_version=str(version), wrapped=data)

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        """Decrypt in KMS; it finds the version in the ciphertext."""
        service.check_wrapped(wrapped, KMS)
        key_id, aad = wrapped.key_id, context.encode()
        claimed = _read_claim(wrapped)
        service.check_version(KMS, key_id, claimed, self._settings.minimum_version)
        answer = self._ask(
            "decrypt", key_id,
            {
                "name": key_id, "ciphertext": wrapped.wrapped, "ciphertext_crc32c": _crc(wrapped.wrapped),
                "additional_authenticated_data": aad, "additional_authenticated_data_crc32c": _crc(aad),
            },
            version=claimed,
        )  # fmt: skip
        _check_crc(answer.plaintext, answer.plaintext_crc32c)
        return service.check_opened(bytes(answer.plaintext), wrapped)

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        """Decrypt and encrypt: the data key passes through this process for a moment."""
        return self.wrap(self.unwrap(wrapped, context=context), key_id=wrapped.key_id, context=context)

    def describe(self, key_id: str) -> KeyState:
        """Read the key, its primary version and which versions are enabled."""
        key = self._ask("get_crypto_key", key_id, {"name": key_id})
        if _name_of(key.purpose) != "ENCRYPT_DECRYPT":
            raise failures.mismatch(KMS, key_id, "cannot be: only a key of purpose ENCRYPT_DECRYPT binds a context")
        if not key.primary.name:
            return self._state(key_id, enabled=False, latest=0, minimum=1, words=("", "it has no primary version"))
        state = _name_of(key.primary.state)
        latest = _read_version(str(key.primary.name), key_id)
        request = {"parent": key_id, "filter": "state=ENABLED", "page_size": _MAX_VERSIONS}
        page = next(self._ask("list_crypto_key_versions", key_id, request).pages)
        usable = [_read_version(str(version.name), key_id) for version in page.crypto_key_versions]
        words = (_name_of(key.primary.algorithm), "" if state == "ENABLED" else f"its primary version is {state}")
        found = self._state(
            key_id, enabled=state == "ENABLED", latest=latest, minimum=min(usable, default=latest), words=words
        )
        return replace(found, deleting=state in _DELETING, usable=frozenset(usable))

    def _state(self, key_id: str, *, enabled: bool, latest: int, minimum: int, words: tuple[str, str]) -> KeyState:
        return KeyState(
            kms=KMS, key_id=key_id, enabled=enabled, latest_version=latest, algorithm=words[0], detail=words[1],
            minimum_version=max(minimum, self._settings.minimum_version),
        )  # fmt: skip

    def _ask(self, operation: str, key_id: str, request: dict[str, Any], *, version: int = 0) -> Any:
        if not _KEY_ID.fullmatch(key_id):
            wanted = "projects/P/locations/L/keyRings/R/cryptoKeys/K is needed"
            raise failures.invalid_name(KMS, key_id, wanted)
        from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415
        from google.protobuf.json_format import ParseError  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        try:
            return getattr(self._client, operation)(request=request, retry=None, timeout=self._settings.timeout_seconds)
        except GoogleAPICallError as error:
            raise self._explain(error, key_id, operation, version) from None
        except (RequestException, TransportError, ParseError, ValueError, TypeError, KeyError) as error:
            raise failures.unavailable(KMS, f"it could not be asked ({type(error).__name__})") from None
        except GoogleAuthError:
            raise failures.denied(KMS, key_id, "credentials that Google accepts") from None

    def _explain(self, error: Any, key_id: str, operation: str, version: int) -> SekishoError:
        """Turn a status of Google's into ours; its message is not repeated."""
        status = _read_status(error)
        if status in {"PERMISSION_DENIED", "UNAUTHENTICATED"}:
            return failures.denied(KMS, key_id, _PERMISSIONS[operation])
        if status == "NOT_FOUND":
            return failures.not_found(KMS, key_id)
        if status == "INVALID_ARGUMENT" and operation == "decrypt":
            return failures.mismatch(KMS, key_id)
        if status == "FAILED_PRECONDITION":
            return self._explain_state(key_id, version)
        return failures.unavailable(KMS, f"it answered {status[:40]!r}")

    def _explain_state(self, key_id: str, version: int) -> SekishoError:
        """Tell a key that is off from one old version that is, where we may look."""
        try:
            state = self.describe(key_id)
        except SekishoError:
            return failures.disabled(KMS, key_id, "a version it needs is disabled or destroyed")
        if state.enabled and 0 < version < state.latest_version:
            text = f"version {version} is disabled or destroyed, {state.latest_version} is the primary"
            return failures.version_revoked(KMS, key_id, text)
        return failures.disabled(KMS, key_id, state.detail or "a version it needs is disabled or destroyed")


def _build_client(settings: GoogleSettings) -> Any:
    try:
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 -- only who uses Google has its client
        from google.cloud import kms_v1  # noqa: PLC0415
        from google.oauth2.service_account import Credentials  # noqa: PLC0415
    except ImportError:
        raise failures.not_installed(KMS, "kms-gcp") from None
    credentials = None
    try:
        if settings.credentials_file is not None:
            credentials = Credentials.from_service_account_file(str(settings.credentials_file), scopes=[_SCOPE])
        options = {"api_endpoint": settings.endpoint} if settings.endpoint else {}
        return kms_v1.KeyManagementServiceClient(credentials=credentials, transport="rest", client_options=options)
    except (GoogleAuthError, OSError, ValueError) as error:
        text = f"credentials, and they cannot be loaded ({type(error).__name__})"
        raise failures.denied(KMS, "", text) from None


def _crc(data: bytes) -> int:
    import google_crc32c  # noqa: PLC0415

    return int(google_crc32c.value(data))


def _check_crc(data: bytes, told: int) -> None:
    if _crc(bytes(data)) != told:
        raise failures.unavailable(KMS, "its answer was damaged on the way: the checksum does not fit")


def _name_of(value: Any) -> str:
    return str(getattr(value, "name", value))[:64]


def _read_version(name: str, key_id: str) -> int:
    found = re.fullmatch(re.escape(key_id) + r"/cryptoKeyVersions/([1-9][0-9]{0,8})", name)
    if found is None:
        raise failures.unavailable(KMS, "its answer names no version of this key")
    return int(found[1])


def _read_claim(wrapped: WrappedKey) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", wrapped.key_version):
        raise failures.mismatch(KMS, wrapped.key_id, "has no version")
    return int(wrapped.key_version)


def _read_status(error: Any) -> str:
    """Return Google's status: the REST client keeps it in the body only."""
    try:
        status = error.response.json()["error"]["status"]
    except (AttributeError, ValueError, KeyError, TypeError):
        return f"status {error.code}"
    return str(status)
