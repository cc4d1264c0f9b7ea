"""NVIDIA's reference manifests (RIM): golden measurements of a driver or a VBIOS, signed, in a SWID tag.

A manifest lists measurements by index from 0; at the device the same one has the SPDM index from 1. Inactive entries
say nothing. Where an entry has alternatives, one of them must be there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sekisho.attest.claims import Window
from sekisho.attest.xmldsig import verify_enveloped
from sekisho.attest.xmltree import Element, parse_xml
from sekisho.errors import Reason, RefusedError

MAX_MEASUREMENTS: Final = 239
MAX_ALTERNATIVES: Final = 64
_SWID: Final = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_SHA384: Final = "http://www.w3.org/2001/04/xmlenc#sha384"
_VIDEO_DECODER: Final = 35  # measured only where the first decoder is switched on


@dataclass(frozen=True, slots=True)
class ReferenceManifest:
    """Golden measurements whose signature holds.

    Attributes:
        edition: "GPU" or "SWITCH".
        product: As "GH100".
        version: Of the driver or the VBIOS it is for, in small letters.
        golden: By index from 0: the values that may stand there; active entries alone.
        window: When the certificates of its signer are valid.
    """

    edition: str
    product: str
    version: str
    golden: tuple[tuple[int, frozenset[bytes]], ...]
    window: Window


def verify_manifest(data: bytes, roots: Sequence[bytes], *, at: datetime) -> ReferenceManifest:
    """Verify a manifest and read it.

    Args:
        data: The SWID tag.
        roots: NVIDIA's roots for manifests as pinned, DER; not the ones for devices.
        at: For when its signer must be valid.

    Raises:
        RefusedError: CollateralInvalid, CollateralExpired, CollateralMissing.
    """
    root = parse_xml(data)
    window = verify_enveloped(root, roots, at=at)
    if (root.space, root.local) != (_SWID, "SoftwareIdentity"):
        raise _invalid("it is not a software identity")
    meta = _one(root, "Meta")
    version, product, edition = (meta.attribute(name) for name in ("colloquialVersion", "product", "edition"))
    if not version or not product or not edition:
        raise _invalid("it does not tell version, product and edition")
    return ReferenceManifest(edition, product, version.lower(), _take_golden(_one(root, "Payload")), window)


def match_manifests(
    registers: Mapping[str, bytes], facts: Mapping[str, str], manifests: Sequence[ReferenceManifest], *, at: datetime
) -> None:
    """Hold the measurements of a device against the manifests for its VBIOS and, at a GPU, its driver.

    Several manifests of one version stand for several boards: one of them must fit as a whole.

    Args:
        registers: By name, "m001" and on.
        facts: Of the device: "vbios", "driver", "device", "nvdec0".
        manifests: Verified before.
        at: For when the signers must be valid.

    Raises:
        RefusedError: CollateralMissing where there is no manifest for a version, CollateralExpired, CollateralInvalid
            where two speak of one index, MeasurementUnknown.
    """
    spoken: dict[int, str] = {}
    # NVSwitches have no driver; a device that tells an empty version of what it has fits no manifest.
    for what in ("vbios", "driver") if "driver" in facts else ("vbios",):
        version = facts.get(what, "").lower()
        fitting = _select(manifests, facts, version, what, at=at)
        manifest = _match(registers, facts, fitting, what)
        for index, _ in manifest.golden:
            if index in spoken:
                raise _invalid(f"those of {spoken[index]} and {what} both speak of measurement {index}")
            spoken[index] = what


def _select(
    manifests: Sequence[ReferenceManifest], facts: Mapping[str, str], version: str, what: str, *, at: datetime
) -> list[ReferenceManifest]:
    parts = facts.get("device", "").split(":")
    product = parts[1].replace("_", "") if len(parts) == 3 else ""
    fitting = [each for each in manifests if each.version == version and product in {"", each.product.replace("_", "")}]
    if not fitting:
        raise RefusedError(
            Reason.COLLATERAL_MISSING,
            f"no reference manifest for {what} {version or '(none told)'} of {product or 'this device'} is here; "
            "import it",
        )
    valid = [each for each in fitting if each.window.covers(at)]
    if not valid:
        raise RefusedError(
            Reason.COLLATERAL_EXPIRED,
            f"the reference manifest for {what} {version} is valid to {fitting[0].window.not_after:%Y-%m-%d}, it is "
            f"{at:%Y-%m-%d}; import a newer one",
        )
    return valid


def _match(
    registers: Mapping[str, bytes], facts: Mapping[str, str], manifests: Sequence[ReferenceManifest], what: str
) -> ReferenceManifest:
    """Return the manifest that fits; where none does, tell what is wrong with the one that comes nearest."""
    wrong: list[tuple[int, ...]] = []
    for each in manifests:
        differing = tuple(
            index
            for index, values in each.golden
            if not (index == _VIDEO_DECODER and facts.get("nvdec0") == "disabled")
            and registers.get(f"m{index + 1:03}") not in values
        )
        if not differing:
            return each
        wrong.append(differing)
    nearest = min(wrong, key=len)
    raise RefusedError(
        Reason.MEASUREMENT_UNKNOWN,
        f"measurements {', '.join(map(str, nearest[:8]))}{' …' if len(nearest) > 8 else ''} of the device are not "
        f"those of {what} {facts[what]}",
    )


def _take_golden(payload: Element) -> tuple[tuple[int, frozenset[bytes]], ...]:
    golden: dict[int, frozenset[bytes]] = {}
    seen: set[int] = set()
    for resource in payload.elements(_SWID, "Resource"):
        index = _number(resource, "index", MAX_MEASUREMENTS)
        if index in seen:
            raise _invalid(f"measurement {index} stands twice")
        seen.add(index)
        if resource.attribute("active") not in {"True", "False"}:
            raise _invalid(f"measurement {index} is neither active nor inactive")
        if resource.attribute("active") == "True":
            golden[index] = _take_values(resource, index)
    if not golden:
        raise _invalid("it has no active measurement")
    return tuple(sorted(golden.items()))


def _take_values(resource: Element, index: int) -> frozenset[bytes]:
    size = _number(resource, "size", 1024)
    values = []
    for number in range(_number(resource, "alternatives", MAX_ALTERNATIVES)):
        try:
            value = bytes.fromhex(resource.attribute(f"Hash{number}", _SHA384) or "")
        except ValueError:
            value = b""
        if not value or len(value) != size:
            raise _invalid(f"alternative {number} of measurement {index} has not {size} bytes")
        values.append(value)
    if not values:
        raise _invalid(f"measurement {index} is active and has no value")
    return frozenset(values)


def _number(element: Element, name: str, most: int) -> int:
    text = element.attribute(name) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= most):
        raise _invalid(f"{name} of a measurement is not a number up to {most}")
    return int(text)


def _one(parent: Element, local: str) -> Element:
    found = parent.elements(_SWID, local)
    if len(found) != 1:
        raise _invalid(f"it has {len(found)} {local}, not one")
    return found[0]


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, f"the reference manifest cannot be used: {what}")
