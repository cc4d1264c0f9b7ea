"""Claims speak of what the evidence covers, and of nothing else."""

from datetime import UTC, datetime, timedelta

from sekisho.attest.claims import Claims, TcbStatus, Tee, Window

AT = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = Window(AT, AT + timedelta(days=1))
CLAIMS = Claims(
    tee=Tee.SNP,
    debug=False,
    tcb_status=TcbStatus.UNKNOWN,
    measurement=b"m",
    bound_data=b"d",
    chip_id=None,
    evidence_digest="sha256:e",
    window=WINDOW,
    registers=(("rtmr0", b"r"),),
    facts=(("vmpl", "0"),),
)


def test_a_window_holds_its_ends_and_nothing_beyond() -> None:
    assert WINDOW.covers(AT)
    assert WINDOW.covers(AT + timedelta(days=1))
    assert not WINDOW.covers(AT - timedelta(seconds=1))
    assert not WINDOW.covers(AT + timedelta(days=1, seconds=1))


def test_what_is_not_claimed_is_none() -> None:
    assert CLAIMS.fact("vmpl") == "0"
    assert CLAIMS.fact("debug") is None
    assert CLAIMS.register("rtmr0") == b"r"
    assert CLAIMS.register("rtmr1") is None


def test_the_words_that_policies_and_records_know_stay_what_they_are() -> None:
    assert [tee.value for tee in Tee] == [
        "snp", "tdx", "sgx", "nitro", "tpm", "nvidia-gpu", "nvidia-switch", "attestation-result",
    ]  # fmt: skip
    assert [status.value for status in TcbStatus] == [
        "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
        "OutOfDateConfigurationNeeded", "Revoked", "Unknown",
    ]  # fmt: skip
