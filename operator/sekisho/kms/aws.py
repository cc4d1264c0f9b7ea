"""Wrap with AWS KMS (client: boto3). The context is the EncryptionContext: KMS authenticates it and policies see it.

AWS names key material, not versions; a version's number is the place of its material among the key's rotations.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kms import failures, service
from sekisho.kms.endpoint import check_endpoint
from sekisho.kms.service import DEFAULT_TIMEOUT_SECONDS, KeyState
from sekisho.seal.keys import KeyContext, WrappedKey

KMS: Final = "aws"
_KEY_ID: Final = re.compile(
    r"arn:aws[a-z-]{0,16}:kms:[a-z0-9-]{1,32}:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]{1,256}"
    r"|alias/[A-Za-z0-9/_-]{1,250}|(mrk-)?[0-9a-f-]{32,36}"
)
_MAX_PAGES: Final = 8
_DISABLED: Final = frozenset({"DisabledException", "KMSInvalidStateException"})
_DELETING: Final = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_NOT_FOUND: Final = frozenset({"NotFoundException", "InvalidArnException"})
_MISMATCH: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException", "InvalidKeyUsageException"})
_DENIED: Final = frozenset({
    "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
    "IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidClientTokenId", "OptInRequired",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """Name the region; credentials come from where boto3 looks (IRSA, Pod Identity, profile, environment).

    Attributes:
        region: Empty for what the environment says.
        endpoint: Of a VPC endpoint, for example; https, or http on this machine.
        ca_file: Roots that may vouch for the endpoint, instead of botocore's.
        timeout_seconds: To connect, and again for each read.
        minimum_version: Older versions are refused, by the material that KMS says it used.
    """

    region: str = ""
    endpoint: str = ""
    ca_file: Path | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    minimum_version: int = 1


class AwsKms:
    """Symmetric keys of one region; a key's id is an ARN, an alias or the bare id."""

    def __init__(self, settings: AwsSettings) -> None:
        check_endpoint(KMS, settings.endpoint)
        self._settings = settings
        self._client = _build_client(settings)

    def wrap(self, data_key: bytes, *, key_id: str, context: KeyContext) -> WrappedKey:
        """Encrypt in KMS."""
        service.check_data_key(data_key)
        state = self.describe(key_id)
        if not state.enabled:
            raise failures.disabled(KMS, key_id, state.detail)
        answer = self._ask(
            "encrypt", key_id, KeyId=key_id, Plaintext=data_key, EncryptionContext=dict(context.to_dict())
        )
        data = service.check_fresh(_read_bytes(answer, "CiphertextBlob"), KMS)
        return WrappedKey(kms=KMS, key_id=key_id, key_version=str(state.latest_version), wrapped=data)

    def unwrap(self, wrapped: WrappedKey, *, context: KeyContext) -> bytes:
        """Decrypt in KMS, with this key and no other."""
        service.check_wrapped(wrapped, KMS)
        key_id = wrapped.key_id
        answer = self._ask(
            "decrypt", key_id, KeyId=key_id, CiphertextBlob=wrapped.wrapped,
            EncryptionContext=dict(context.to_dict()),
        )  # fmt: skip
        if self._settings.minimum_version > 1:
            materials = self._list_materials(_read_text(answer, "KeyId"))
            version = _number(materials, answer.get("KeyMaterialId"))
            service.check_version(KMS, key_id, version, self._settings.minimum_version)
        return service.check_opened(_read_bytes(answer, "Plaintext"), wrapped)

    def rewrap(self, wrapped: WrappedKey, *, context: KeyContext) -> WrappedKey:
        """Let KMS decrypt and encrypt: the data key stays there."""
        service.check_wrapped(wrapped, KMS)
        bound, key_id = dict(context.to_dict()), wrapped.key_id
        answer = self._ask(
            "re_encrypt", key_id, CiphertextBlob=wrapped.wrapped, SourceKeyId=key_id, DestinationKeyId=key_id,
            SourceEncryptionContext=bound, DestinationEncryptionContext=bound,
        )  # fmt: skip
        materials = self._list_materials(_read_text(answer, "KeyId"))
        source = _number(materials, answer.get("SourceKeyMaterialId"))
        service.check_version(KMS, key_id, source, self._settings.minimum_version)
        version = _number(materials, answer.get("DestinationKeyMaterialId"))
        data = service.check_fresh(_read_bytes(answer, "CiphertextBlob"), KMS)
        return WrappedKey(kms=KMS, key_id=key_id, key_version=str(version), wrapped=data)

    def describe(self, key_id: str) -> KeyState:
        """Read the key's metadata and its rotations."""
        data = self._ask("describe_key", key_id, KeyId=key_id).get("KeyMetadata")
        if not isinstance(data, dict) or data.get("KeySpec") != "SYMMETRIC_DEFAULT":
            raise failures.mismatch(KMS, key_id, "cannot be: only a symmetric key binds a context")
        state = str(data.get("KeyState"))[:64]
        # a key that is to be deleted still counts its rotations, but KMS does not tell them
        materials = self._list_materials(_read_text(data, "Arn")) if state == "Enabled" else []
        return KeyState(
            kms=KMS, key_id=key_id, enabled=state == "Enabled", latest_version=max(len(materials), 1),
            minimum_version=self._settings.minimum_version, algorithm="SYMMETRIC_DEFAULT",
            deleting=state in _DELETING, detail="" if state == "Enabled" else f"its state is {state}",
        )  # fmt: skip

    def _list_materials(self, arn: str) -> list[str]:
        """Return the ids of the key's material, oldest first; nothing for keys that cannot rotate."""
        entries: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            answer = self._ask(
                "list_key_rotations", arn, KeyId=arn, IncludeKeyMaterial="ALL_KEY_MATERIAL", Limit=1000, **marker
            )
            entries += [entry for entry in answer.get("Rotations", []) if isinstance(entry, dict)]
            if not answer.get("Truncated"):
                break
            marker = {"Marker": _read_text(answer, "NextMarker")}
        # the first material has no date of rotation; material that is imported but waits comes last and never wraps
        used = [entry for entry in entries if not str(entry.get("KeyMaterialState")).startswith("PENDING")]
        return [str(e.get("KeyMaterialId")) for e in sorted(used, key=_rotated_at)]

    def _ask(self, operation: str, key_id: str, **arguments: Any) -> dict[str, Any]:
        if not _KEY_ID.fullmatch(key_id):
            raise failures.invalid_name(KMS, key_id, "an ARN, an alias/NAME or a key id is needed")
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        try:
            answer = getattr(self._client, operation)(**arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if operation == "list_key_rotations" and code == "UnsupportedOperationException":
                return {}
            raise _explain(code.rpartition("#")[2], status, key_id, operation) from None
        except NoCredentialsError:
            raise failures.denied(KMS, key_id, "credentials, and none were found") from None
        except (BotoCoreError, ResponseParserError, ValueError, KeyError, TypeError, OSError) as error:
            raise failures.unavailable(KMS, f"it could not be asked ({type(error).__name__})") from None
        if not isinstance(answer, dict):
            raise failures.unavailable(KMS, "its answer is not a JSON object")
        return answer


def _build_client(settings: AwsSettings) -> Any:
    try:
        import boto3  # noqa: PLC0415 -- only who uses AWS has its client
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ImportError:
        raise failures.not_installed(KMS, "kms-aws") from None
    seconds = settings.timeout_seconds
    config = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1})
    try:
        return boto3.Session().client(
            "kms", region_name=settings.region or None, endpoint_url=settings.endpoint or None, config=config,
            verify=str(settings.ca_file) if settings.ca_file else None,
        )  # fmt: skip
    except (BotoCoreError, ValueError) as error:
        raise failures.unavailable(
            KMS, f"its client cannot be set up ({type(error).__name__}); name a region"
        ) from None


def _rotated_at(entry: dict[str, Any]) -> float:
    at = entry.get("RotationDate")
    return float(at.timestamp()) if at is not None else 0.0


def _number(materials: list[str], material: object) -> int:
    if not materials:
        return 1
    if material not in materials:
        raise failures.unavailable(KMS, "the key material it used is not among the key's rotations")
    return materials.index(str(material)) + 1


def _read_bytes(answer: dict[str, Any], field: str) -> bytes:
    value = answer.get(field)
    if not isinstance(value, bytes):
        raise failures.unavailable(KMS, f"its answer lacks {field}")
    return value


def _read_text(answer: dict[str, Any], field: str) -> str:
    value = answer.get(field)
    if not isinstance(value, str):
        raise failures.unavailable(KMS, f"its answer lacks {field}")
    return value


def _explain(code: str, status: int, key_id: str, operation: str) -> SekishoError:
    """Turn an error code of KMS into ours; its message is not repeated."""
    if code in _DISABLED:
        return failures.disabled(KMS, key_id, f"KMS says {code}: disabled, pending deletion or not yet imported")
    if code in _NOT_FOUND:
        return failures.not_found(KMS, key_id)
    if code in _MISMATCH:
        return failures.mismatch(KMS, key_id)
    if code in _DENIED or status in {401, 403}:
        action = {"list_key_rotations": "ListKeyRotations", "re_encrypt": "ReEncryptFrom and kms:ReEncryptTo"}
        return failures.denied(KMS, key_id, f"kms:{action.get(operation, operation.title().replace('_', ''))}")
    return failures.unavailable(KMS, f"it answered with status {status} ({code[:64]!r})")
