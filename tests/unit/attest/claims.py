"""Claims to appraise: what a good SNP guest, its TPM and two GPUs say; each test changes the one fact it speaks of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sekisho.attest.claims import Claims, TcbStatus, Tee, Window

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=1), NOW + timedelta(days=30))
MEASUREMENT = b"\x11" * 48
CONFIGURATION = b"\x33" * 32
CHIP = b"\x44" * 64
AK = b"\x77" * 32
TCB = (
    ("bootloader", 10), ("committed.microcode", 84), ("launch.microcode", 84), ("microcode", 84), ("snp", 23),
    ("tee", 0),
)  # fmt: skip
SNP = Claims(
    tee=Tee.SNP,
    debug=False,
    tcb_status=TcbStatus.UNKNOWN,
    measurement=MEASUREMENT,
    bound_data=b"bound",
    chip_id=CHIP,
    evidence_digest="sha256:" + "5a" * 32,
    window=WINDOW,
    tcb=TCB,
    registers=(("r0", b"\x22" * 48),),
    configuration=CONFIGURATION,
    facts=(("product", "Genoa"), ("vmpl", "0")),
)
TPM = Claims(
    tee=Tee.TPM,
    debug=False,
    tcb_status=TcbStatus.UNKNOWN,
    measurement=b"\x55" * 32,
    bound_data=b"bound",
    chip_id=AK,
    evidence_digest="sha256:" + "7b" * 32,
    window=WINDOW,
    registers=(("pcr4", b"\x66" * 32),),
)


def build_gpu(number: int, **changes: Any) -> Claims:
    """Return what one GPU says."""
    made = Claims(
        tee=Tee.NVIDIA_GPU,
        debug=False,
        tcb_status=TcbStatus.UP_TO_DATE,
        measurement=b"",
        bound_data=b"bound",
        chip_id=bytes([number]) * 16,
        evidence_digest=f"sha256:{number:064x}",
        window=WINDOW,
        facts=(("key", f"k{number}"), ("measurements", "matched"), ("mode", "SPT")),
    )
    return replace(made, **changes)
