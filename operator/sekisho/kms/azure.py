"""Wrap with Azure Key Vault or Managed HSM (client: azure-keyvault-keys).

Key Vault wraps with RSA only and knows no associated data, so the context is bound here: RSA-OAEP-256 wraps a fresh
AES-256 key that is used once, and that key encrypts the data key with the context as associated data:

    1 byte format (2) ‖ 16 bytes version of the key ‖ 2 bytes length ‖ wrapped key ‖ ciphertext ‖ 16 bytes tag

The nonce is zero because the key is used once. Associated data: "sekisho-azure-v1" ‖ 0 ‖ everything before the
ciphertext ‖ the context. What this cannot do: Key Vault does not see the context, so its policies cannot judge by it.
"""

import os
import re
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sekisho.errors import SekishoError
from sekisho.kms import failures, service
from sekisho.kms.endpoint import check_endpoint
from sekisho.kms.service import DEFAULT_TIMEOUT_SECONDS, KeyState
from sekisho.seal.keys import KeyContext, WrappedKey

KMS: Final = "azure"
ALGORITHM: Final = "RSA-OAEP-256"
_KEY_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{2,127}/[A-Za-z0-9-]{1,127}")
_VERSION: Final = re.compile(r"[0-9a-f]{32}")
_FORMAT: Final = b"\x02"
_LABEL: Final = b"sekisho-azure-v1\0"
_NONCE: Final = bytes(12)
_TAG_BYTES: Final = 16
_MAX_VERSIONS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """Name the vault; credentials come from where azure-identity looks (workload identity, environment).

    Attributes:
        vault: Its name, or its full host name where it is not under vault.azure.net (Managed HSM, other clouds).
        endpoint: Where it is reached by another address than its name says; https only.
        ca_file: Roots that may vouch for the vault, instead of the client's.
        authority: Of another sign-in service than Azure's; https only. It is taken as it is, without discovery.
        timeout_seconds: To connect, and again for each read.
        minimum_version: Older versions are refused, by the version that the vault was asked to use.
    """

    vault: str
    endpoint: str = ""
    ca_file: Path | None = None
    authority: str = ""
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    minimum_version: int = 1


@dataclass(frozen=True, slots=True)
class _Envelope:
    version: str
    wrapped: bytes
    sealed: bytes = field(repr=False)

    @classmethod
    def parse(cls, wrapped: WrappedKey) -> "_Envelope":
        data = wrapped.wrapped
        length = int.from_bytes(data[17:19], "big")
        if data[:1] != _FORMAT or not 256 <= length <= 1024 or len(data) <= 19 + length + _TAG_BYTES:
            raise failures.mismatch(KMS, wrapped.key_id)
        return cls(data[1:17].hex(), data[19 : 19 + length], data[19 + length :])

    def head(self) -> bytes:
        return _FORMAT + bytes.fromhex(self.version) + len(self.wrapped).to_bytes(2, "big") + self.wrapped

    def bind(self, context: KeyContext) -> bytes:
        return _LABEL + self.head() + context.encode()


@dataclass(frozen=True, slots=True)
class _Version:
    name: str
    enabled: bool


class AzureKeyVault:
    """RSA keys of one vault; a key's id is `vault/name`."""

    def __init__(self, settings: AzureSettings) -> None:
        for address in (settings.endpoint, settings.authority):
            check_endpoint(KMS, address)
        self._settings = settings
        host = settings.vault if "." in settings.vault else f"{settings.vault}.vault.azure.net"
        self._url = settings.endpoint or f"https://{host}"
        self._options: dict[str, Any] = {
            "retry_total": 0, "connection_timeout": settings.timeout_seconds, "read_timeout": settings.timeout_seconds,
            **({"connection_verify": str(settings.ca_file)} if settings.ca_file else {}),
        }  # fmt: skip
        self._credential = _build_credential(settings, self._options)
        self._client = _build_client(self._url, self._credential, self._options)

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        """Wrap a key of one use in the vault, and the data key with it here."""
        service.check_data_key(data_key)
        versions = self._list_versions(key_id)
        newest = versions[-1]
        if not newest.enabled:
            raise failures.disabled(KMS, key_id, f"version {len(versions)} is not enabled")
        service.check_version(KMS, key_id, len(versions), self._settings.minimum_version)
        once = os.urandom(service.DATA_KEY_BYTES)
        wrapped = self._ask(key_id, "wrapKey", lambda: self._crypto(key_id, newest.name).wrap_key(_algorithm(), once))
        envelope = _Envelope(newest.name, bytes(wrapped.encrypted_key), b"")
        sealed = AESGCM(once).encrypt(_NONCE, data_key, envelope.bind(context))
        data = service.check_fresh(envelope.head() + sealed, KMS)
        return WrappedKey(kms=KMS, key_id=key_id, key_version=str(len(versions)), wrapped=data)

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        """Unwrap the key of one use in the vault, and the data key with it here."""
        service.check_wrapped(wrapped, KMS)
        envelope = _Envelope.parse(wrapped)
        key_id = wrapped.key_id
        if self._settings.minimum_version > 1:
            names = [version.name for version in self._list_versions(key_id)]
            number = names.index(envelope.version) + 1 if envelope.version in names else 0
            service.check_version(KMS, key_id, number, self._settings.minimum_version)
        once = self._ask(
            key_id, "unwrapKey",
            lambda: self._crypto(key_id, envelope.version).unwrap_key(_algorithm(), envelope.wrapped),
            version=envelope.version,
        )  # fmt: skip
        try:
            data_key = AESGCM(bytes(once.key)).decrypt(_NONCE, envelope.sealed, envelope.bind(context))
        except (InvalidTag, ValueError):
            raise failures.mismatch(KMS, key_id) from None
        return service.check_opened(data_key, wrapped)

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        """Unwrap and wrap: the data key passes through this process for a moment."""
        return self.wrap(self.unwrap(wrapped, context=context), key_id=wrapped.key_id, context=context)

    def describe(self, key_id: str) -> KeyState:
        """List the key's versions."""
        versions = self._list_versions(key_id)
        usable = [number for number, version in enumerate(versions, start=1) if version.enabled]
        enabled = versions[-1].enabled
        return KeyState(
            kms=KMS, key_id=key_id, enabled=enabled, latest_version=len(versions),
            minimum_version=max(min(usable, default=len(versions)), self._settings.minimum_version),
            algorithm=ALGORITHM, usable=frozenset(usable),
            detail="" if enabled else f"version {len(versions)} is not enabled",
        )  # fmt: skip

    def _list_versions(self, key_id: str) -> list[_Version]:
        """Return the versions, oldest first; a version's number is its place here: the vault never drops one."""
        name = self._name_in_vault(key_id)

        def read() -> list[Any]:
            return list(islice(self._client.list_properties_of_key_versions(name), _MAX_VERSIONS + 1))

        found = self._ask(key_id, "list", read)
        if len(found) > _MAX_VERSIONS or any(not _VERSION.fullmatch(str(p.version)) for p in found):
            raise failures.unavailable(KMS, f"it lists more than {_MAX_VERSIONS} versions, or one without a name")
        if not found or any(p.created_on is None for p in found):
            raise failures.not_found(KMS, key_id)
        ordered = sorted(found, key=lambda p: (p.created_on, p.version))
        return [_Version(str(p.version), bool(p.enabled)) for p in ordered]

    def _crypto(self, key_id: str, version: str) -> Any:
        from azure.keyvault.keys.crypto import CryptographyClient  # noqa: PLC0415

        name = f"{self._url.rstrip('/')}/keys/{self._name_in_vault(key_id)}/{version}"
        return CryptographyClient(name, self._credential, **self._options)

    def _name_in_vault(self, key_id: str) -> str:
        vault, _, name = key_id.partition("/")
        if not _KEY_ID.fullmatch(key_id) or vault != self._settings.vault:
            raise failures.invalid_name(KMS, key_id, f"{self._settings.vault}/NAME is needed")
        return name

    def _ask(self, key_id: str, right: str, call: Any, *, version: str = "") -> Any:
        from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError  # noqa: PLC0415

        try:
            return call()
        except ClientAuthenticationError as error:
            if error.response is None:
                text = "the sign-in gave no token; are the credentials right, and can the sign-in service be reached?"
                raise failures.unavailable(KMS, text) from None
            raise failures.denied(KMS, key_id, "credentials that Azure accepts") from None
        except HttpResponseError as error:
            raise self._explain(error, key_id, right, version) from None
        except (AzureError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise failures.unavailable(KMS, f"it could not be asked ({type(error).__name__})") from None

    def _explain(self, error: Any, key_id: str, right: str, version: str) -> SekishoError:
        """Turn an error code of the vault into ours; its message is not repeated."""
        status, code = error.status_code, _read_code(error)
        if code in {"KeyDisabled", "KeyNotYetValid", "KeyExpired"}:
            return self._explain_disabled(key_id, version, code)
        if status == 404:
            return failures.not_found(KMS, key_id)
        if status in {401, 403}:
            return failures.denied(KMS, key_id, f"the permission keys/{right} (and keys/get)")
        if status == 400 and right == "unwrapKey":
            return failures.mismatch(KMS, key_id)
        return failures.unavailable(KMS, f"it answered with status {status}")

    def _explain_disabled(self, key_id: str, version: str, code: str) -> SekishoError:
        try:
            versions = self._list_versions(key_id)
        except SekishoError:
            return failures.disabled(KMS, key_id, f"the vault says {code}")
        older = [known.name for known in versions[:-1]]
        if version in older and versions[-1].enabled:
            text = f"the vault says {code} of version {older.index(version) + 1}, {len(versions)} is the newest"
            return failures.version_revoked(KMS, key_id, text)
        return failures.disabled(KMS, key_id, f"the vault says {code}")


def _algorithm() -> Any:
    from azure.keyvault.keys.crypto import KeyWrapAlgorithm  # noqa: PLC0415

    return KeyWrapAlgorithm.rsa_oaep_256


def _build_credential(settings: AzureSettings, options: dict[str, Any]) -> Any:
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 -- only who uses Azure has its client
    except ImportError:
        raise failures.not_installed(KMS, "kms-azure") from None
    if not settings.authority:
        return DefaultAzureCredential(exclude_interactive_browser_credential=True, **options)
    return DefaultAzureCredential(authority=settings.authority, disable_instance_discovery=True, **options)


def _build_client(url: str, credential: Any, options: dict[str, Any]) -> Any:
    try:
        from azure.keyvault.keys import KeyClient  # noqa: PLC0415
    except ImportError:
        raise failures.not_installed(KMS, "kms-azure") from None
    return KeyClient(vault_url=url, credential=credential, **options)


def _read_code(error: Any) -> str:
    """Return the innermost error code: the outer one is only "Forbidden" for a key that is disabled."""
    try:
        body = error.response.json()["error"]
        inner = body.get("innererror") or {}
        return str(inner.get("code") or body.get("code"))[:64]
    except (AttributeError, ValueError, KeyError, TypeError):
        return ""
