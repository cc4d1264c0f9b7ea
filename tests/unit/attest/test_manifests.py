"""Reference manifests: what is golden is golden for this version, at every index; what is inactive does not count."""

from datetime import timedelta
from typing import Any

import pytest

from sekisho.attest import opaque
from sekisho.attest.claims import Claims, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.manifests import ReferenceManifest, match_manifests, verify_manifest
from sekisho.attest.verifiers.nvidia import NvidiaCollateral, verify_nvidia
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW
from tests.simulators.hardware.manifests import Publisher, render, sign
from tests.simulators.hardware.nvidia import MEASUREMENTS, Maker

PUBLISHER = Publisher()
ROOTS = (PUBLISHER.root.der,)
DRIVER, VBIOS = "550.90.07", "96.00.9F.00.01"
OTHER = b"o" * 48
ACTIVE = 'active="True" alternatives="1"'
NO_DRIVER = "no reference manifest for driver 550.90.07 of GH100 is here; import it"
REGISTERS = {"m001": b"a" * 48, "m002": b"b" * 48, "m036": b"c" * 48}
FACTS = {"vbios": VBIOS.lower(), "driver": DRIVER, "device": "NVIDIA:GH100:1", "nvdec0": "enabled"}


def read(data: bytes) -> ReferenceManifest:
    return verify_manifest(data, ROOTS, at=NOW)


def refused(act: Any, *args: Any, **options: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        act(*args, **options)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('edition="GPU"', "", "it does not tell version, product and edition"),
        (f'colloquialVersion="{DRIVER}"', 'colloquialVersion=""', "it does not tell version, product and edition"),
        ("ns0:Meta", "ns0:Mete", "it has 0 Meta, not one"),
        ('index="0"', 'index="1"', "measurement 1 stands twice"),
        ('index="0"', 'index="-1"', "index of a measurement is not a number up to 239"),
        ('index="0"', 'index="240"', "index of a measurement is not a number up to 239"),
        ('index="0"', 'index="٣"', "index of a measurement is not a number up to 239"),
        ('active="True"', 'active="yes"', "measurement 0 is neither active nor inactive"),
        (ACTIVE, ACTIVE.replace("1", "0"), "measurement 0 is active and has no value"),
        (ACTIVE, ACTIVE.replace("1", "2"), "alternative 1 of measurement 0 has not 48 bytes"),
        (ACTIVE, ACTIVE.replace("1", "65"), "alternatives of a measurement is not a number up to 64"),
        ("61" * 48, "61" * 47, "alternative 0 of measurement 0 has not 48 bytes"),
        ("61" * 48, "xx" * 48, "alternative 0 of measurement 0 has not 48 bytes"),
        ('active="True"', 'active="False"', "it has no active measurement"),
        ("19770/-2/2015", "19770/-2/2009", "it is not a software identity"),
        ("SoftwareIdentity", "Identity", "it is not a software identity"),
    ],
)
def test_a_signed_manifest_that_says_nothing_clear_is_refused(old: str, new: str, message: str) -> None:
    xml = render(DRIVER, {0: [b"a" * 48]})
    assert old in xml
    changed = xml.replace(old, new) if new != 'index="1"' else xml.replace(old, new, 1)
    reason, text = refused(read, sign(changed, PUBLISHER.chain))
    assert reason is Reason.COLLATERAL_INVALID
    assert text == f"the reference manifest cannot be used: {message}"


def test_a_manifest_is_read() -> None:
    manifest = read(
        PUBLISHER.publish(VBIOS, {0: [b"a" * 48], 7: [b"b" * 48, bytes(48)]}, edition="SWITCH", product="LS10")
    )
    assert (manifest.edition, manifest.product, manifest.version) == ("SWITCH", "LS10", VBIOS.lower())
    assert manifest.golden == ((0, frozenset({b"a" * 48})), (7, frozenset({b"b" * 48, bytes(48)})))
    assert manifest.window.not_after == NOW + timedelta(days=365)


def manifest(
    version: str, golden: dict[int, set[bytes]], *, days: int = 9, product: str = "GH100"
) -> ReferenceManifest:
    window = Window(NOW - timedelta(days=9), NOW + timedelta(days=days))
    values = tuple((index, frozenset(each)) for index, each in golden.items())
    return ReferenceManifest("GPU", product, version.lower(), values, window)


FIRMWARE = manifest(VBIOS, {0: {b"a" * 48, OTHER}})
MANY = {index: {OTHER} for index in range(1, 12)}
SOFTWARE = manifest(DRIVER, {1: {b"b" * 48}, 35: {b"c" * 48}})


@pytest.mark.parametrize(
    ("manifests", "reason", "message"),
    [
        ([FIRMWARE], Reason.COLLATERAL_MISSING, NO_DRIVER),
        ([SOFTWARE], Reason.COLLATERAL_MISSING, NO_DRIVER.replace("driver 550.90.07", "vbios 96.00.9f.00.01")),
        (
            [FIRMWARE, manifest(DRIVER, {1: {b"b" * 48}}, product="GB100")],
            Reason.COLLATERAL_MISSING,
            NO_DRIVER,
        ),
        (
            [FIRMWARE, manifest(DRIVER, {1: {b"b" * 48}}, days=-1)],
            Reason.COLLATERAL_EXPIRED,
            "the reference manifest for driver 550.90.07 is valid to 2026-05-31, it is 2026-06-01; import a newer one",
        ),
        (
            [FIRMWARE, manifest(DRIVER, {0: {b"a" * 48}})],
            Reason.COLLATERAL_INVALID,
            "the reference manifest cannot be used: those of vbios and driver both speak of measurement 0",
        ),
        (
            [FIRMWARE, manifest(DRIVER, {1: {OTHER}})],
            Reason.MEASUREMENT_UNKNOWN,
            "measurements 1 of the device are not those of driver 550.90.07",
        ),
        (
            [FIRMWARE, manifest(DRIVER, MANY), manifest(DRIVER, {2: {OTHER}, 5: {OTHER}})],
            Reason.MEASUREMENT_UNKNOWN,
            "measurements 2, 5 of the device are not those of driver 550.90.07",
        ),
        (
            [manifest(VBIOS, MANY), SOFTWARE],
            Reason.MEASUREMENT_UNKNOWN,
            "measurements 1, 2, 3, 4, 5, 6, 7, 8 … of the device are not those of vbios 96.00.9f.00.01",
        ),
    ],
)
def test_devices_that_are_not_golden_are_refused(
    manifests: list[ReferenceManifest], reason: Reason, message: str
) -> None:
    assert refused(match_manifests, REGISTERS, FACTS, manifests, at=NOW) == (reason, message)


def test_one_of_several_manifests_for_a_version_must_fit() -> None:
    boards = [manifest(VBIOS, {0: {OTHER}}), FIRMWARE, SOFTWARE]
    match_manifests(REGISTERS, FACTS, boards, at=NOW)
    match_manifests(REGISTERS, FACTS | {"device": ""}, boards, at=NOW)


def test_a_switch_needs_a_manifest_for_its_vbios_alone() -> None:
    match_manifests(REGISTERS, {"vbios": VBIOS.lower()}, [FIRMWARE], at=NOW)


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({}, "vbios"),
        (FACTS | {"vbios": ""}, "vbios"),
        (FACTS | {"driver": ""}, "driver"),
        ({"driver": DRIVER.lower()}, "vbios"),
    ],
)
def test_a_device_that_hides_a_version_is_held_against_nothing_and_refused(facts: dict[str, str], what: str) -> None:
    reason, message = refused(match_manifests, REGISTERS, facts, [FIRMWARE, SOFTWARE], at=NOW)
    assert reason is Reason.COLLATERAL_MISSING
    assert message.startswith(f"no reference manifest for {what} (none told) of ")


def test_the_video_decoder_is_measured_only_where_it_is_switched_on() -> None:
    registers = REGISTERS | {"m036": bytes(48)}
    assert refused(match_manifests, registers, FACTS, [FIRMWARE, SOFTWARE], at=NOW)[1].startswith("measurements 35 of")
    match_manifests(registers, FACTS | {"nvdec0": "disabled"}, [FIRMWARE, SOFTWARE], at=NOW)


def test_a_device_is_verified_with_the_manifests_for_its_versions() -> None:
    maker = Maker()
    manifests = (
        read(PUBLISHER.publish(DRIVER, {1: [MEASUREMENTS[1]]})),
        read(PUBLISHER.publish(VBIOS, {0: [MEASUREMENTS[0]]})),
    )
    collateral = NvidiaCollateral((maker.root.der,), manifests=manifests)

    def verify(*measurements: bytes) -> Claims:
        return verify_nvidia(maker.make(1).evidence(bytes(32), measurements=measurements), collateral, at=NOW)

    assert verify(*MEASUREMENTS).fact("measurements") == "matched"
    reason, message = refused(verify, OTHER, *MEASUREMENTS[1:])
    assert reason is Reason.MEASUREMENT_UNKNOWN
    assert message == "measurements 0 of the device are not those of vbios 96.00.9f.00.01"
    assert refused(verify, MEASUREMENTS[0])[0] is Reason.MEASUREMENT_UNKNOWN


@pytest.mark.parametrize("empty", [b"", bytes(16), b" " * 4], ids=["nothing", "zeros", "blanks"])
def test_a_gpu_with_another_driver_cannot_get_by_with_no_version_of_it(empty: bytes) -> None:
    maker = Maker()
    manifests = (read(PUBLISHER.publish(VBIOS, {0: [MEASUREMENTS[0]]})),)
    collateral = NvidiaCollateral((maker.root.der,), manifests=manifests)
    device = maker.make(1)
    report = device.report(bytes(32), fields={**device.fields(), opaque.DRIVER: empty})
    evidence = UnverifiedEvidence("nvidia-gpu", report, device.certificates)
    reason, message = refused(lambda: verify_nvidia(evidence, collateral, at=NOW))
    assert reason is Reason.COLLATERAL_MISSING
    assert message == "no reference manifest for driver (none told) of GH100 is here; import it"


@pytest.mark.parametrize(("device", "product"), [("LS_10", "LS10"), ("LS10", "LS_10")])
def test_products_are_alike_in_either_spelling(device: str, product: str) -> None:
    facts = {"vbios": VBIOS.lower(), "device": f"NVIDIA:{device}:1"}
    match_manifests(REGISTERS, facts, [manifest(VBIOS, {0: {b"a" * 48}}, product=product)], at=NOW)
    assert refused(match_manifests, REGISTERS, facts, [FIRMWARE], at=NOW)[0] is Reason.COLLATERAL_MISSING


def test_bounds_are_included() -> None:
    xml = render(DRIVER, {0: [b"a" * 48]}).replace('index="63"', 'index="239"')
    wide = xml.replace("61" * 48, "61" * 1024).replace('size="48"', 'size="1024"', 1)
    assert read(sign(wide, PUBLISHER.chain)).golden == ((0, frozenset({b"a" * 1024})),)
    hashes = " ".join(f'ns2:Hash{number}="{"61" * 48}"' for number in range(64))
    many = xml.replace(f'alternatives="1" ns2:Hash0="{"61" * 48}"', f'alternatives="64" {hashes}')
    assert read(sign(many, PUBLISHER.chain)).golden == ((0, frozenset({b"a" * 48})),)
    longer = xml.replace("61" * 48, "61" * 1025).replace('size="48"', 'size="1025"', 1)
    assert refused(read, sign(longer, PUBLISHER.chain))[1].endswith("size of a measurement is not a number up to 1024")
    assert (
        refused(read, sign(xml.replace('index="0"', 'index="00000"'), PUBLISHER.chain))[0] is Reason.COLLATERAL_INVALID
    )
