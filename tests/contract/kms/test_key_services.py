"""What must hold for every key service."""

import os
from dataclasses import replace

import pytest

from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.seal.keys import KeyContext, WrappedKey, encode_wrapped, parse_wrapped
from tests.contract.kms.benches import Bench

CONTEXT = KeyContext("contract-reviewer", 3, "confidential+gdpr")
DATA_KEY = os.urandom(32)


def wrap(bench: Bench) -> WrappedKey:
    return bench.service.wrap(DATA_KEY, key_id=bench.key_id, context=CONTEXT)


def refuse_unwrap(bench: Bench, wrapped: WrappedKey, context: KeyContext = CONTEXT) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        bench.service.unwrap(wrapped, context=context)
    assert DATA_KEY.hex() not in caught.value.message
    assert "the words of the service" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "context",
    [
        KeyContext("contract-reviewer", 3, "public"),
        KeyContext("contract-reviewer", 2, "confidential+gdpr"),
        KeyContext("another", 3, "confidential+gdpr"),
    ],
    ids=["class", "version", "model"],
)
def test_a_data_key_unwraps_for_no_other_context(bench: Bench, context: KeyContext) -> None:
    error = refuse_unwrap(bench, wrap(bench), context)
    assert error.reason is Reason.KEY_MISMATCH
    assert "another key, model, version or class" in error.message


def test_another_key_does_not_unwrap(bench: Bench) -> None:
    if not bench.other_id:
        pytest.skip("a development file holds one key")
    error = refuse_unwrap(bench, replace(wrap(bench), key_id=bench.other_id))
    # Azure looks for the version first: another key has no such version
    assert error.reason in {Reason.KEY_MISMATCH, Reason.KEY_NOT_FOUND}


def test_any_changed_or_cut_byte_is_refused(bench: Bench) -> None:
    wrapped = wrap(bench)
    data = wrapped.wrapped
    for place in {0, 9, len(data) // 2, len(data) - 6}:
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        error = refuse_unwrap(bench, replace(wrapped, wrapped=changed))
        assert error.reason in {Reason.KEY_MISMATCH, Reason.KEY_NOT_FOUND}, place
    for length in (1, len(data) // 2, len(data) - 1):
        assert refuse_unwrap(bench, replace(wrapped, wrapped=data[:length])).reason is Reason.KEY_MISMATCH, length


def test_an_oversized_or_empty_wrapping_is_refused_before_anybody_is_asked(bench: Bench) -> None:
    wrapped = wrap(bench)
    asked = bench.web.asked if bench.web else 0
    for data in (b"", b"x" * 4097):
        error = refuse_unwrap(bench, replace(wrapped, wrapped=data))
        assert error.reason is Reason.KEY_MISMATCH
        assert f"has {len(data)} wrapped bytes, 1 to 4096 are allowed" in error.message
    assert (bench.web.asked if bench.web else 0) == asked


def test_what_another_kind_of_service_wrapped_is_refused(bench: Bench) -> None:
    error = refuse_unwrap(bench, replace(wrap(bench), kms="elsewhere"))
    assert error.reason is Reason.KEY_MISMATCH
    assert "was wrapped by 'elsewhere'" in error.message


@pytest.mark.parametrize("length", [0, 16, 31, 33, 5000])
def test_only_data_keys_are_wrapped(bench: Bench, length: int) -> None:
    with pytest.raises(RefusedError, match=f"a data key has {length} bytes, 32 are needed"):
        bench.service.wrap(bytes(length), key_id=bench.key_id, context=CONTEXT)


def test_a_missing_key_is_named(bench: Bench) -> None:
    for call in (
        lambda: bench.service.describe(bench.missing_id),
        lambda: bench.service.wrap(DATA_KEY, key_id=bench.missing_id, context=CONTEXT),
    ):
        with pytest.raises(RefusedError, match="has no key") as caught:
            call()
        assert caught.value.reason is Reason.KEY_NOT_FOUND


@pytest.mark.parametrize("key_id", ["../../sys/raw", "transit/../sys", "a b", "", "x" * 600, "transit/k?x=1", "té"])
def test_a_name_that_cannot_be_one_is_refused(bench: Bench, key_id: str) -> None:
    asked = bench.web.asked if bench.web else 0
    with pytest.raises(RefusedError) as caught:
        bench.service.describe(key_id)
    assert caught.value.reason is Reason.KEY_NOT_FOUND
    assert (bench.web.asked if bench.web else 0) == asked


def test_a_disabled_key_neither_wraps_nor_unwraps(bench: Bench) -> None:
    wrapped = wrap(bench)
    bench.disable()
    assert refuse_unwrap(bench, wrapped).reason is Reason.KEY_DISABLED
    with pytest.raises(RefusedError) as caught:
        wrap(bench)
    assert caught.value.reason is Reason.KEY_DISABLED
    assert "does not use the key" in caught.value.message


def test_a_key_that_is_disabled_says_so_of_itself(bench: Bench) -> None:
    bench.disable()
    state = bench.service.describe(bench.key_id)
    assert not state.enabled
    assert state.detail


def test_a_key_that_is_deleted_or_waits_for_it_is_refused(bench: Bench) -> None:
    wrapped = wrap(bench)
    bench.delete()
    assert refuse_unwrap(bench, wrapped).reason is bench.deleted_reason


def test_a_key_that_waits_for_its_deletion_says_so_of_itself_where_the_service_still_knows_it(bench: Bench) -> None:
    assert not bench.service.describe(bench.key_id).deleting
    bench.delete()
    try:
        state = bench.service.describe(bench.key_id)
    except RefusedError as error:
        reason = error.reason
    else:
        assert (state.deleting, state.enabled, bool(state.detail)) == (True, False, True)
        return
    assert reason in {Reason.KEY_NOT_FOUND, Reason.KEY_DISABLED}


def test_a_key_that_is_only_disabled_does_not_wait_for_its_deletion(bench: Bench) -> None:
    bench.disable()
    assert not bench.service.describe(bench.key_id).deleting


def test_a_revoked_version_does_not_unwrap_and_the_message_says_rewrap(bench: Bench) -> None:
    if bench.revoke is None:
        pytest.skip("the service revokes no single version; the minimum in our settings does")
    old = wrap(bench)
    bench.rotate()
    new = bench.service.rewrap(old, context=CONTEXT)
    bench.revoke()
    error = refuse_unwrap(bench, old)
    assert error.reason is Reason.KEY_VERSION_REVOKED
    assert "rewrap the model's key" in error.message
    assert bench.service.unwrap(new, context=CONTEXT) == DATA_KEY
    state = bench.service.describe(bench.key_id)
    assert state.minimum_version == 2
    # openbao and the development key know a minimum alone
    assert state.usable == (None if state.kms in {"openbao", "unsafe-development"} else {2})


@pytest.mark.slow
def test_a_minimum_version_in_the_settings_refuses_older_ones(bench: Bench) -> None:
    old = wrap(bench)
    bench.rotate()
    new = bench.service.rewrap(old, context=CONTEXT)
    strict = bench.open(minimum_version=2)
    with pytest.raises(RefusedError, match="version 1 wrapped it, 2 is the minimum") as caught:
        strict.unwrap(old, context=CONTEXT)
    assert caught.value.reason is Reason.KEY_VERSION_REVOKED
    assert strict.unwrap(new, context=CONTEXT) == DATA_KEY


def test_denied_rights_are_named(bench: Bench) -> None:
    if bench.deny is None:
        pytest.skip("rights of this service are those of a file or a PIN, tested apart")
    wrapped = wrap(bench)
    bench.deny()
    error = refuse_unwrap(bench, wrapped)
    assert error.reason is Reason.KEY_DENIED
    assert "this needs" in error.message


@pytest.mark.slow
@pytest.mark.parametrize("mood", ["throttled", "broken", "garbage", "oversized"])
def test_a_service_that_fails_is_asked_once_and_called_unavailable(remote: Bench, mood: str) -> None:
    wrapped = wrap(remote)
    assert remote.web is not None
    remote.web.mood = mood
    asked = remote.web.asked
    with pytest.raises(SekishoError) as caught:
        remote.service.unwrap(wrapped, context=CONTEXT)
    assert caught.value.reason is Reason.KMS_UNAVAILABLE, caught.value.message
    assert caught.value.retry
    # Azure's client reads the key before it unwraps; no client tries anything twice
    assert remote.web.asked <= asked + (2 if wrapped.kms == "azure" else 1)


@pytest.mark.slow
def test_a_service_that_is_late_is_not_waited_for(remote: Bench) -> None:
    wrapped = wrap(remote)
    assert remote.web is not None
    remote.web.mood = "late"
    hasty = remote.open(timeout_seconds=0.3)
    with pytest.raises(UnavailableError, match="gave no usable answer") as caught:
        hasty.unwrap(wrapped, context=CONTEXT)
    assert caught.value.reason is Reason.KMS_UNAVAILABLE


def test_a_data_key_comes_back_for_its_context(bench: Bench) -> None:
    wrapped = wrap(bench)
    assert wrapped.key_id == bench.key_id
    assert wrapped.key_version == "1"
    assert DATA_KEY not in wrapped.wrapped
    assert bench.service.unwrap(parse_wrapped(encode_wrapped(wrapped)), context=CONTEXT) == DATA_KEY


def test_wrapping_twice_gives_different_bytes(bench: Bench) -> None:
    assert wrap(bench).wrapped != wrap(bench).wrapped


def test_after_a_rotation_rewrapping_keeps_the_data_key_and_shows_the_new_version(bench: Bench) -> None:
    old = wrap(bench)
    bench.rotate()
    assert bench.service.unwrap(old, context=CONTEXT) == DATA_KEY
    new = bench.service.rewrap(old, context=CONTEXT)
    assert (new.key_version, new.key_id, new.kms) == ("2", old.key_id, old.kms)
    assert bench.service.unwrap(new, context=CONTEXT) == DATA_KEY


def test_rewrapping_with_another_context_is_refused(bench: Bench) -> None:
    old = wrap(bench)
    with pytest.raises(RefusedError) as caught:
        bench.service.rewrap(old, context=replace(CONTEXT, data_class="public"))
    assert caught.value.reason is Reason.KEY_MISMATCH


def test_a_key_shows_its_state_and_versions(bench: Bench) -> None:
    bench.rotate()
    state = bench.service.describe(bench.key_id)
    assert (state.enabled, state.latest_version, state.minimum_version) == (True, 2, 1)
    assert state.algorithm
    assert state.unsafe is (state.kms == "unsafe-development")
