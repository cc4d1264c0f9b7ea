"""From "openbao:transit/legal" to a key service, with the environment variables that each service's own tools read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sekisho.errors import Reason, RefusedError
from sekisho.kms import aws, azure, gcp, openbao_wire, pkcs11, unsafe_development
from sekisho.kms.aws import AwsKms, AwsSettings
from sekisho.kms.azure import AzureKeyVault, AzureSettings
from sekisho.kms.gcp import GoogleKms, GoogleSettings
from sekisho.kms.openbao import OpenBaoSettings, OpenBaoTransit
from sekisho.kms.openbao_login import AppRoleLogin, KubernetesLogin, Login, TokenFile
from sekisho.kms.pkcs11 import Pkcs11Keys, Pkcs11Settings
from sekisho.kms.service import KeyService
from sekisho.kms.unsafe_development import UnsafeDevelopmentKeys, UnsafeDevelopmentSettings

_POD_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 -- a path

KeySettings: TypeAlias = (
    OpenBaoSettings | Pkcs11Settings | AwsSettings | GoogleSettings | AzureSettings | UnsafeDevelopmentSettings
)


@dataclass(frozen=True, slots=True)
class KeyAddress:
    """A key and the kind of service that has it.

    Attributes:
        kms: As in `WrappedKey.kms`.
        key_id: As in `WrappedKey.key_id`.
        place: What the service is reached by where that is not part of the key's id: a development key's file.
    """

    kms: str
    key_id: str
    place: str = ""


def parse_key_address(text: str) -> KeyAddress:
    """Take "KMS:KEY" apart.

    Raises:
        RefusedError: KEY_NOT_FOUND where the kind of service is none of ours or no key is named.
    """
    kms, colon, key_id = text.partition(":")
    if kms not in _READERS or not colon or not key_id or len(text) > 512:
        kinds = ", ".join(f"{name}:" for name in _READERS)
        raise RefusedError(Reason.KEY_NOT_FOUND, f"{text[:64]!r} names no key; it must begin with one of {kinds}")
    if kms == unsafe_development.KMS:
        return KeyAddress(kms, Path(key_id).stem, key_id)
    return KeyAddress(kms, key_id)


def read_key_settings(
    address: KeyAddress, environment: Mapping[str, str], *, minimum_version: int = 1, allow_unsafe: bool = False
) -> KeySettings:
    """Read what the service needs from the variables that docs/reference/keys.md lists."""
    return _READERS[address.kms](address, environment, minimum_version, allow_unsafe)


def open_key_service(
    wanted: str | KeySettings, environment: Mapping[str, str] | None = None, *,
    minimum_version: int = 1, allow_unsafe: bool = False,
) -> KeyService:  # fmt: skip
    """Return the key service of an address or of settings; nobody is asked yet.

    Args:
        wanted: An address such as "aws:alias/legal", or settings. With settings the other arguments do nothing.
        environment: Variables that complete an address.
        minimum_version: Older versions of keys are refused.
        allow_unsafe: Take development keys and keys that can leave their service. Production never asks for it.
    """
    if isinstance(wanted, str):
        address = parse_key_address(wanted)
        wanted = read_key_settings(
            address, environment or {}, minimum_version=minimum_version, allow_unsafe=allow_unsafe
        )
    match wanted:
        case OpenBaoSettings():
            return OpenBaoTransit(wanted)
        case Pkcs11Settings():
            return Pkcs11Keys(wanted)
        case AwsSettings():
            return AwsKms(wanted)
        case GoogleSettings():
            return GoogleKms(wanted)
        case AzureSettings():
            return AzureKeyVault(wanted)
        case UnsafeDevelopmentSettings():
            return UnsafeDevelopmentKeys(wanted)


def _read_openbao(_: KeyAddress, environment: Mapping[str, str], minimum: int, unsafe: bool) -> OpenBaoSettings:
    def either(name: str) -> str:
        return environment.get(f"BAO_{name}") or environment.get(f"VAULT_{name}") or ""

    ca_file = either("CACERT")
    return OpenBaoSettings(
        address=either("ADDR") or _missing(openbao_wire.KMS, "BAO_ADDR"), login=_read_login(environment),
        ca_file=Path(ca_file) if ca_file else None, namespace=either("NAMESPACE"), minimum_version=minimum,
        allow_unsafe=unsafe,
    )  # fmt: skip


def _read_login(environment: Mapping[str, str]) -> Login:
    if role := environment.get("SEKISHO_BAO_ROLE"):
        jwt_file = Path(environment.get("SEKISHO_BAO_JWT_FILE") or _POD_TOKEN)
        return KubernetesLogin(role, jwt_file, environment.get("SEKISHO_BAO_MOUNT") or "kubernetes")
    role_id, secret_id = environment.get("SEKISHO_BAO_ROLE_ID_FILE"), environment.get("SEKISHO_BAO_SECRET_ID_FILE")
    if role_id and secret_id:
        mount = environment.get("SEKISHO_BAO_MOUNT") or "approle"
        return AppRoleLogin(Path(role_id), Path(secret_id), mount)
    if file := environment.get("SEKISHO_BAO_TOKEN_FILE"):
        return TokenFile(Path(file))
    home = environment.get("HOME") or _missing(openbao_wire.KMS, "SEKISHO_BAO_TOKEN_FILE")
    return TokenFile(Path(home) / ".vault-token")


def _read_pkcs11(_: KeyAddress, environment: Mapping[str, str], minimum: int, unsafe: bool) -> Pkcs11Settings:
    def needed(name: str) -> str:
        return environment.get(name) or _missing(pkcs11.KMS, name)

    return Pkcs11Settings(
        module=Path(needed("SEKISHO_PKCS11_MODULE")), token=needed("SEKISHO_PKCS11_TOKEN"),
        pin_file=Path(needed("SEKISHO_PKCS11_PIN_FILE")), minimum_version=minimum, allow_unsafe=unsafe,
    )  # fmt: skip


def _read_aws(address: KeyAddress, environment: Mapping[str, str], minimum: int, _: bool) -> AwsSettings:
    # an ARN names its region
    region = address.key_id.split(":")[3] if address.key_id.count(":") >= 5 else environment.get("AWS_REGION", "")
    return AwsSettings(
        region=region, endpoint=environment.get("AWS_ENDPOINT_URL_KMS", ""), minimum_version=minimum
    )  # fmt: skip


def _read_gcp(_: KeyAddress, environment: Mapping[str, str], minimum: int, __: bool) -> GoogleSettings:
    return GoogleSettings(endpoint=environment.get("SEKISHO_GCP_ENDPOINT", ""), minimum_version=minimum)


def _read_azure(address: KeyAddress, _: Mapping[str, str], minimum: int, __: bool) -> AzureSettings:
    return AzureSettings(vault=address.key_id.partition("/")[0], minimum_version=minimum)


def _read_unsafe(address: KeyAddress, _: Mapping[str, str], minimum: int, unsafe: bool) -> UnsafeDevelopmentSettings:
    return UnsafeDevelopmentSettings(file=Path(address.place), allow_unsafe=unsafe, minimum_version=minimum)


def _missing(kms: str, variable: str) -> str:
    raise RefusedError(Reason.KEY_NOT_FOUND, f"where {kms} is reached is not set; set {variable}")


_READERS: Final[Mapping[str, Callable[[KeyAddress, Mapping[str, str], int, bool], KeySettings]]] = {
    openbao_wire.KMS: _read_openbao,
    pkcs11.KMS: _read_pkcs11,
    aws.KMS: _read_aws,
    gcp.KMS: _read_gcp,
    azure.KMS: _read_azure,
    unsafe_development.KMS: _read_unsafe,
}
KINDS: Final = frozenset(_READERS)
"""Every kind of key service, as in `WrappedKey.kms`."""
