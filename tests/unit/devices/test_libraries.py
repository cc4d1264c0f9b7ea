"""Reports of GPUs and NVSwitches by the makers' libraries: of all for one nonce, or an outage, or nothing at all."""

import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sekisho.attester.devices import NvidiaDevices
from sekisho.devices.asking import ask_bounded
from sekisho.devices.nscq import read_switches
from sekisho.devices.nvml import read_gpus
from sekisho.errors import Reason, UnavailableError
from tests.unit.depot.parts import Keys, build_keys

NONCE = bytes(range(32))
Build = Callable[..., str]

GPUS = r"""
#include <string.h>
#include <unistd.h>
typedef struct { unsigned chain, attestation; unsigned char c[0x1000]; unsigned char a[0x1400]; } certificate_t;
typedef struct { unsigned present, size, cec; unsigned char nonce[32];
  unsigned char r[0x2000]; unsigned char e[0x1000]; } report_t;
typedef struct { unsigned environment, feature, tools; } state_t;
static const char pem[] = PEM;
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetConfComputeState(state_t *state) {
  state->environment = 2; state->feature = 1; state->tools = TOOLS; return STATE; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = (void *)(long)(0x7f0000001000 + index); return 0; }
int nvmlDeviceGetConfComputeGpuAttestationReport(void *device, report_t *report) {
  sleep(SLEEP);
  unsigned long which = (unsigned long)device;
  memcpy(report->r, &which, 8); memcpy(report->r + 8, report->nonce, 32);
  report->size = SIZE; report->present = 0; report->cec = 0;
  return REPORT;
}
#if COUNT > 0
int nvmlDeviceGetConfComputeGpuCertificate(void *device, certificate_t *certificate) {
  memcpy(certificate->a, pem, sizeof pem - 1); certificate->attestation = sizeof pem - 1; certificate->chain = 0;
  return 0;
}
#endif
"""


SWITCHES = r"""
#include <stdint.h>
#include <string.h>
typedef struct { uint8_t bytes[16]; } name_t;
typedef struct { uint32_t size; uint8_t data[0x2000]; } report_t;
typedef struct { uint8_t data[0x1400]; uint32_t size; } certificate_t;
typedef struct { int8_t rc; void *session; } opened_t;
typedef void (*reports_t)(const name_t *, int8_t, report_t, void *);
typedef void (*certificates_t)(const name_t *, int8_t, certificate_t, void *);
static const char pem[] = PEM;
static uint8_t nonce[32];
static int open_sessions = 0;
opened_t nscq_session_create(uint32_t flags) {
  opened_t made = { CREATE, &open_sessions }; open_sessions += flags; return made; }
void nscq_session_destroy(void *session) { *(int *)session -= 1; }
int count_open(void) { return open_sessions; }
int8_t nscq_session_set_input(void *session, uint32_t flags, void *data, uint32_t size) {
  if (session != &open_sessions || flags || size != 32) return -5;
  memcpy(nonce, data, 32); return INPUT; }
int8_t nscq_session_path_observe(void *session, const char *path, void *call, void *data, uint32_t flags) {
  for (int i = COUNT - 1; i >= 0; i--) {
    name_t name; memset(&name, i, sizeof name);
    if (!strcmp(path, "/{nvswitch}/config/attestation_report")) {
      report_t report = { .size = SIZE }; report.data[0] = i; memcpy(report.data + 1, nonce, 32);
      ((reports_t)call)(&name, CODE, report, data);
    } else if (!strcmp(path, "/{nvswitch}/config/certificate") && i >= MUTE) {
      certificate_t chain = { .size = sizeof pem - 1 }; memcpy(chain.data, pem, sizeof pem - 1);
      ((certificates_t)call)(&name, 0, chain, data);
    }
  }
  return OBSERVE;
}
"""
FACTS = {
    "nvml": {"INIT": 0, "COUNT": 2, "SLEEP": 0, "SIZE": 40, "REPORT": 0, "TOOLS": 0, "STATE": 0},
    "nscq": {"CREATE": 0, "INPUT": 0, "OBSERVE": 0, "CODE": 0, "COUNT": 3, "SIZE": 33, "MUTE": 0},
}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def build(tls: Keys, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile libraries with the makers' structures, in C, so that ours are held against a compiler's."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler to build a driver's library with")
    folder = tmp_path_factory.mktemp("libraries")
    pem = (tls.certificate.read_text() + tls.ca.read_text()).replace("\n", "\\n")

    def build(what: str = "nvml", **changes: Any) -> str:
        facts = FACTS[what] | {"PEM": f'"{pem}"'} | changes
        target = folder / f"lib{len(list(folder.iterdir()))}.so"
        flags = [f"-D{name}={value}" for name, value in facts.items()]
        command = ["cc", "-shared", "-fPIC", "-O0", "-x", "c", "-", "-o", str(target), *flags]
        subprocess.run(command, input=GPUS if what == "nvml" else SWITCHES, text=True, check=True)
        return str(target)

    return build


def test_every_gpu_signs_for_one_nonce_with_its_own_chain(build: Build, tls: Keys) -> None:
    pieces = read_gpus(NONCE, library=build())
    assert [piece.kind for piece in pieces] == ["nvidia-gpu", "nvidia-gpu"]
    assert [piece.report[8:40] for piece in pieces] == [NONCE] * 2
    assert pieces[0].report[:8] != pieces[1].report[:8]
    leaf = x509.load_pem_x509_certificate(tls.certificate.read_bytes()).public_bytes(Encoding.DER)
    assert (pieces[0].certificates[0], len(pieces[0].certificates)) == (leaf, 2)


@pytest.mark.parametrize(
    "change", [{"INIT": 9}, {"REPORT": 3}, {"COUNT": 0}], ids=["no driver", "not confidential", "no device"]
)
def test_without_gpus_in_confidential_mode_there_is_nothing(build: Build, change: dict[str, int]) -> None:
    assert read_gpus(NONCE, library=build(**change)) == ()


def test_gpus_that_are_open_to_developers_tools_give_nothing_and_it_is_told(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_gpus(NONCE, library=build(TOOLS=1)) == ()
    assert "the GPUs are in the mode for developers' tools" in caplog.text


def test_a_driver_that_knows_no_such_mode_is_asked_all_the_same(build: Build) -> None:
    assert len(read_gpus(NONCE, library=build(STATE=3, TOOLS=1))) == 2


def test_without_a_drivers_library_or_with_an_old_one_there_is_nothing() -> None:
    assert read_gpus(NONCE, library="libthere-is-no-such-thing.so") == ()
    assert read_gpus(NONCE, library="libc.so.6") == ()
    assert read_switches(NONCE, libraries=("libthere-is-no-such-thing.so",)) == ()
    assert read_switches(NONCE, libraries=("libthere-is-no-such-thing.so", "libc.so.6")) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"INIT": 999}, "nvmlInit_v2 returned 999"),
        ({"STATE": 999}, "nvmlSystemGetConfComputeState returned 999"),
        ({"REPORT": 15}, "nvmlDeviceGetConfComputeGpuAttestationReport returned 15"),
        ({"COUNT": 17}, "there are 17 GPUs, 16 are allowed"),
        ({"SIZE": 0}, "the report has 0 bytes, 1 to 8192 are possible"),
        ({"SIZE": 8193}, "the report has 8193 bytes, 1 to 8192 are possible"),
        ({"PEM": '"no certificate"'}, "the certificate chain is not PEM"),
        ({"SLEEP": 2}, "the driver did not answer within 0 s"),
    ],
)
def test_a_driver_that_fails_is_an_outage(build: Build, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        read_gpus(NONCE, library=build(**change), seconds=0.4 if "SLEEP" in change else 60)
    assert caught.value.reason is Reason.EVIDENCE_MISSING
    assert caught.value.message == f"the GPU gives no evidence: {message}"


def test_a_driver_that_hangs_is_asked_no_more_than_a_few_times() -> None:
    answered, asked = threading.Event(), list[int]()

    def hang() -> int:
        asked.append(1)
        answered.wait(120)
        return 7

    try:
        for _ in range(4):
            with pytest.raises(UnavailableError, match="the driver did not answer within 0 s"):
                ask_bounded(hang, 0, seconds=0.001, what="hanging device")
        with pytest.raises(UnavailableError) as caught:
            ask_bounded(hang, 0, seconds=60, what="hanging device")
        assert caught.value.message == (
            "the hanging device gives no evidence: 4 earlier questions are not answered yet; see the driver's log"
        )
    finally:
        answered.set()
    for thread in threading.enumerate():
        if thread.name == "hanging device":
            thread.join(60)
    assert ask_bounded(hang, 0, seconds=60, what="hanging device") == 7
    assert len(asked) == 5


def test_every_switch_signs_for_one_nonce_and_comes_in_the_order_of_its_name(build: Build, tls: Keys) -> None:
    pieces = read_switches(NONCE, libraries=("libthere-is-no-such-thing.so", build("nscq")))
    assert [piece.report for piece in pieces] == [bytes([number]) + NONCE for number in range(3)]
    assert {(piece.kind, len(piece.certificates)) for piece in pieces} == {("nvidia-switch", 2)}


@pytest.mark.parametrize("change", [{"CREATE": -6}, {"COUNT": 0}], ids=["no driver", "no switch"])
def test_without_switches_there_is_nothing(build: Build, change: dict[str, int]) -> None:
    assert read_switches(NONCE, libraries=(build("nscq", **change),)) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CREATE": -128}, "nscq_session_create returned -128"),
        ({"INPUT": -5}, "nscq_session_set_input returned -5"),
        ({"OBSERVE": -8}, "/{nvswitch}/config/attestation_report returned -8"),
        ({"CODE": -8}, "a switch answered -8 when asked for its report"),
        ({"SIZE": 0x2001}, "the report has 8193 bytes, 1 to 8192 are possible"),
        ({"COUNT": 17}, "there are more than 16 switches"),
        ({"MUTE": 1}, "3 switches gave a report, 2 a certificate chain"),
        ({"PEM": '"no certificate"'}, "the certificate chain is not PEM"),
    ],
)
def test_a_driver_of_switches_that_fails_is_an_outage(build: Build, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        read_switches(NONCE, libraries=(build("nscq", **change),), seconds=60)
    assert caught.value.reason is Reason.EVIDENCE_MISSING
    assert caught.value.message == f"the NVSwitch gives no evidence: {message}"


def test_a_node_shows_its_gpus_and_its_switches_and_no_switches_alone(build: Build, tmp_path: Path) -> None:
    found = NvidiaDevices(build(), (build("nscq"),)).read(NONCE)
    assert [piece.kind for piece in found] == ["nvidia-gpu"] * 2 + ["nvidia-switch"] * 3
    assert NvidiaDevices(build(COUNT=0), (build("nscq"),)).read(NONCE) == ()
    assert NvidiaDevices.below(tmp_path).read(NONCE) == ()
    assert NvidiaDevices.below(tmp_path).gpus == str(tmp_path / "libnvidia-ml.so.1")
    assert NvidiaDevices.below(None).gpus == "libnvidia-ml.so.1"
