"""What an installation decides of its ledger."""

from pathlib import Path

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.recording.record import RecordLimits
from sekisho.recording.settings import RecordingSettings, Writer, build_record
from sekisho.recording.store import ObjectStore, StoreAddress


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SEKISHO_RECORD_SEGMENT_SECONDS", "0"),
        ("SEKISHO_RECORD_RETENTION_DAYS", "-1"),
        ("SEKISHO_RECORD_CHECKPOINT_SECONDS", "often"),
    ],
)
def test_a_variable_that_cannot_be_understood_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        RecordingSettings.read({variable: value})
    assert refusal.value.reason is Reason.INVALID_SPEC
    assert refusal.value.message.startswith(f"environment variable {variable}: ")
    assert value not in refusal.value.message.partition(":")[2].split()


@pytest.mark.parametrize("url", ["", "https://bucket", "s3://", "bucket"])
def test_a_copy_goes_to_a_bucket_alone(url: str) -> None:
    with pytest.raises(RefusedError, match="the copy of the record goes to s3://BUCKET or s3://BUCKET/PREFIX"):
        ObjectStore(StoreAddress(url))


def writer(folder: Path, instance: str = "gateway-0") -> Writer:
    return Writer(folder, "gateway", instance, RecordLimits())


def test_a_name_with_spaces_is_refused(tmp_path: Path) -> None:
    for settings, instance in ((RecordingSettings(name="a b"), "x"), (RecordingSettings(), "x y")):
        with pytest.raises(RefusedError, match="cannot name a key"):
            build_record(writer(tmp_path, instance), settings, refusal="no", observe=lambda seconds, entries: None)


def test_settings_become_a_record(tmp_path: Path) -> None:
    settings = RecordingSettings.read(
        {"SEKISHO_RECORD_NAME": "sekisho/legal", "SEKISHO_RECORD_RETENTION_DAYS": "30", "SEKISHO_RECORD_KEY": "",
         "SEKISHO_RECORD_COPY_TO": "s3://ledger/of/us/", "SEKISHO_RECORD_COPY_PLAIN_HTTP": "true", "OTHER": "x"}
    )  # fmt: skip
    assert settings.key is None
    record = build_record(writer(tmp_path), settings, refusal="no", observe=lambda seconds, entries: None)
    keeping = record._keeper._keeping
    assert (keeping.retention_seconds, keeping.prefix) == (30 * 86_400.0, "of/us/sekisho/legal/gateway-0/")
    assert keeping.most_bytes == RecordLimits().max_bytes // 2
    plain = build_record(writer(tmp_path), RecordingSettings(), refusal="no", observe=lambda seconds, entries: None)
    assert (plain._keeper._keeping.store, plain._writer) == (None, "sekisho/gateway/gateway-0")
    assert StoreAddress("s3://ledger").prefix == ""
