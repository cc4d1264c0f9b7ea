"""Tell whose OpenSSL does the work: the one inside the wheel can be several times faster than a distribution's."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

from cryptography.hazmat.backends.openssl import backend

_BUNDLING_PLATFORMS: Final = ("manylinux", "musllinux", "macosx", "win")


@dataclass(frozen=True, slots=True)
class OpenSsl:
    """The OpenSSL in use.

    Attributes:
        version: As it calls itself.
        bundled: Whether it came inside the wheel of cryptography.
    """

    version: str
    bundled: bool


def describe_openssl(package: str = "cryptography") -> OpenSsl:
    """Tell which OpenSSL cryptography uses, by the record of its wheel; read once, at start."""
    try:
        wheel = distribution(package).read_text("WHEEL")
    except PackageNotFoundError:
        wheel = None
    return OpenSsl(backend.openssl_version_text(), is_bundled(wheel))


def is_bundled(wheel: str | None) -> bool:
    """Tell from the WHEEL record whether the wheel is one that carries its own OpenSSL.

    Wheels of the project are tagged for manylinux and the like; one built from source, or a package of a
    distribution, is tagged for plain linux or has no record, and uses the system's library.
    """
    tags = [line.removeprefix("Tag:").strip() for line in (wheel or "").splitlines() if line.startswith("Tag:")]
    return any(tag.rsplit("-", 1)[-1].startswith(_BUNDLING_PLATFORMS) for tag in tags)


def warn_of_openssl(found: OpenSsl) -> str:
    """Say what users should know about the OpenSSL in use; empty where all is well."""
    if found.bundled:
        return ""
    return (
        f"cryptography uses {found.version} of the system; unsealing may be several times slower than with the OpenSSL "
        "inside its wheel: install cryptography as a wheel (pip install --only-binary cryptography cryptography)"
    )
