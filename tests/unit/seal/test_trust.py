"""Who signed, and who approved: every way to be refused first."""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sekisho.errors import Reason, RefusedError
from sekisho.seal.manifest import MANIFEST_NAME, digest_of
from sekisho.seal.statement import Envelope, Signature, add_signature, encode_signatures, parse_signatures
from sekisho.seal.trust import (
    Approval,
    Signer,
    SignerText,
    encode_approval_signature,
    encode_approval_statement,
    parse_signers,
    verify_approval,
    verify_manifest,
)
from tests.unit.seal.sealing import IDENTITY, KEY, seal
from tests.unit.seal.signing import (
    NOW,
    build_authorities,
    curve_key,
    ed25519_key,
    envelope_of,
    key_id_of,
    pem_of,
    sign,
    statement_of,
)

MANIFEST = seal().blobs[MANIFEST_NAME]
OWNER, STRANGER, BOARD = ed25519_key("owner"), ed25519_key("stranger"), ed25519_key("board")
SIGNERS = parse_signers(
    [SignerText("model-release", (pem_of(OWNER),)), SignerText("model-board", public_keys=(pem_of(BOARD),))]
)


def refusal(work: Any, *given: Any, **named: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        work(*given, **named)
    return caught.value.reason, caught.value.message


def refuse_manifest(
    signatures: bytes | None, *, manifest: bytes = MANIFEST, signers: Any = SIGNERS, at: datetime = NOW
) -> tuple[Reason, str]:
    return refusal(verify_manifest, manifest, signatures, signers, at=at)


def test_a_model_without_signatures_is_refused_and_its_manifest_not_even_read() -> None:
    reason, message = refuse_manifest(None, manifest=b"no manifest")
    assert reason is Reason.SIGNATURE_MISSING
    assert message == "there is no sekisho.sig.json; have the owner sign the model: sekisho sign"


def test_a_policy_that_names_no_signers_trusts_nobody() -> None:
    reason, message = refuse_manifest(envelope_of(MANIFEST, OWNER), signers=())
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert message == "the policy names no signers, so nobody's signature counts"


def test_a_signature_by_a_key_of_nobody_the_policy_names_is_refused() -> None:
    reason, message = refuse_manifest(envelope_of(MANIFEST, STRANGER))
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert f"key {key_id_of(STRANGER)} is none of the policy's" in message
    assert message.endswith("a signature by one of these is needed: model-release, model-board")


def test_a_stranger_who_claims_a_trusted_key_by_its_id_is_refused() -> None:
    payload = statement_of(MANIFEST)
    claimed = sign(STRANGER, payload, key_id=key_id_of(OWNER))
    reason, message = refuse_manifest(encode_signatures(Envelope(payload, (claimed,))))
    assert reason is Reason.SIGNATURE_INVALID
    assert f'the signature by key {key_id_of(OWNER)} of "model-release" does not hold' in message


def test_a_flipped_bit_of_a_signature_is_refused() -> None:
    payload = statement_of(MANIFEST)
    good = sign(OWNER, payload)
    bad = replace(good, value=bytes([good.value[0] ^ 1]) + good.value[1:])
    assert refuse_manifest(encode_signatures(Envelope(payload, (bad,))))[0] is Reason.SIGNATURE_INVALID


def test_a_signature_over_the_payload_without_its_type_is_refused() -> None:
    payload = statement_of(MANIFEST)
    bare = Signature(key_id=key_id_of(OWNER), value=OWNER.sign(payload))
    assert refuse_manifest(encode_signatures(Envelope(payload, (bare,))))[0] is Reason.SIGNATURE_INVALID


def test_a_signed_statement_on_another_version_does_not_vouch_for_this_manifest() -> None:
    other = seal(identity=replace(IDENTITY, version=6)).blobs[MANIFEST_NAME]
    reason, message = refuse_manifest(envelope_of(other, OWNER))
    assert reason is Reason.SIGNATURE_INVALID
    assert message == (
        f"what was signed is not this sekisho.json, whose digest is {digest_of(MANIFEST)}; fetch the model again"
    )


def test_a_changed_manifest_is_refused_before_it_is_parsed() -> None:
    reason, message = refuse_manifest(envelope_of(MANIFEST, OWNER), manifest=MANIFEST[:-1])
    assert reason is Reason.SIGNATURE_INVALID
    assert "what was signed is not this sekisho.json" in message


def test_a_statement_that_names_other_plaintext_than_the_manifest_is_refused() -> None:
    config = next(f for f in seal().manifest.files if f.path == "config.json").digest[7:].encode()
    payload = statement_of(MANIFEST).replace(config, b"0" * 64)
    reason, message = refuse_manifest(encode_signatures(Envelope(payload, (sign(OWNER, payload),))))
    assert reason is Reason.SIGNATURE_INVALID
    assert message == (
        f"what was signed says something else than sekisho.json {digest_of(MANIFEST)}; sign the folder anew"
    )


def test_an_approval_cannot_stand_in_for_a_signature() -> None:
    payload = encode_approval_statement(digest_of(MANIFEST), "model-release", "A. Owner", "2026-11-29T11:00:00Z")
    reason, message = refuse_manifest(encode_signatures(Envelope(payload, (sign(OWNER, payload),))))
    assert reason is Reason.SIGNATURE_INVALID
    assert message.startswith("what was signed is a https://sekisho.dev/attestations/approval/v1, a https://")


def test_a_trusted_signature_over_something_that_is_no_statement_is_refused() -> None:
    for payload in (b"hello", b"[]", b'{"predicateType":"https://sekisho.dev/attestations/sealed-model/v1"}'):
        reason, _ = refuse_manifest(encode_signatures(Envelope(payload, (sign(OWNER, payload),))))
        assert reason in {Reason.SEAL_INVALID, Reason.SIGNATURE_INVALID}


def test_a_signed_statement_on_a_malformed_manifest_is_refused_as_malformed() -> None:
    broken = MANIFEST.replace(b'sion":7', b'sion":0')
    payload = statement_of(MANIFEST).replace(digest_of(MANIFEST)[7:].encode(), digest_of(broken)[7:].encode())
    reason, message = refuse_manifest(encode_signatures(Envelope(payload, (sign(OWNER, payload),))), manifest=broken)
    assert reason is Reason.SEAL_INVALID
    assert message.startswith("sekisho.json.model.version is 0")


def test_the_hash_of_an_ecdsa_signature_is_the_one_of_its_curve_and_no_other() -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

    from sekisho.seal.statement import encode_pae  # noqa: PLC0415

    key, payload = curve_key(ec.SECP384R1()), statement_of(MANIFEST)
    weak = Signature(key_id=key_id_of(key), value=key.sign(encode_pae(payload), ec.ECDSA(hashes.SHA256())))
    signers = parse_signers([SignerText("model-release", (pem_of(key),))])
    assert (
        refuse_manifest(encode_signatures(Envelope(payload, (weak,))), signers=signers)[0] is Reason.SIGNATURE_INVALID
    )


def test_what_the_same_signer_signs_twice_counts_once_and_others_do_not_spoil_it() -> None:
    verified = verify_manifest(MANIFEST, envelope_of(MANIFEST, STRANGER, OWNER, OWNER), SIGNERS, at=NOW)
    assert verified.signed_by == {"model-release"}
    assert verified.digest == digest_of(MANIFEST)
    assert verified.manifest.model == IDENTITY


def test_a_wrong_hint_does_not_hide_a_signature_that_holds() -> None:
    payload = statement_of(MANIFEST)
    hidden = sign(OWNER, payload, key_id=key_id_of(BOARD))
    verified = verify_manifest(MANIFEST, encode_signatures(Envelope(payload, (hidden,))), SIGNERS, at=NOW)
    assert verified.signed_by == {"model-release"}


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_both_curves_sign(curve: ec.EllipticCurve) -> None:
    key = curve_key(curve)
    signers = parse_signers([SignerText("model-release", (pem_of(key),))])
    assert verify_manifest(MANIFEST, envelope_of(MANIFEST, key), signers, at=NOW).signed_by == {"model-release"}


def test_two_signers_are_both_found() -> None:
    envelope = add_signature(parse_signatures(envelope_of(MANIFEST, OWNER)), *_by(BOARD))
    verified = verify_manifest(MANIFEST, encode_signatures(envelope), SIGNERS, at=NOW)
    assert verified.signed_by == {"model-release", "model-board"}


def _by(key: Any) -> tuple[bytes, Signature]:
    payload = statement_of(MANIFEST)
    return payload, sign(key, payload)


# approvals


def approve(key: Any = BOARD, *, digest: str = "", at: str = "2026-11-29T11:00:00Z", **more: Any) -> Approval:
    role = more.get("role", "model-board")
    statement = encode_approval_statement(digest or digest_of(MANIFEST), role, "B. Chair", at)
    return Approval(role, "B. Chair", at, encode_approval_signature(sign(key, statement, **more.get("signature", {}))))


def refuse_approval(approval: Approval, *, signers: tuple[Signer, ...] = SIGNERS) -> tuple[Reason, str]:
    return refusal(verify_approval, approval, manifest_digest=digest_of(MANIFEST), signers=signers, at=NOW)


def test_an_approval_of_another_manifest_is_refused() -> None:
    reason, message = refuse_approval(approve(digest=digest_of(KEY)))
    assert reason is Reason.SIGNATURE_INVALID
    assert message.startswith(f'the approval of "model-board" does not hold for {digest_of(MANIFEST)}: ')


@pytest.mark.parametrize("change", [{"by": "Somebody else"}, {"at": "2026-11-28T11:00:00Z"}])
def test_an_approval_whose_words_were_changed_is_refused(change: dict[str, str]) -> None:
    assert refuse_approval(replace(approve(), **change))[0] is Reason.SIGNATURE_INVALID


def test_an_approval_by_a_trusted_signer_of_another_role_is_refused() -> None:
    reason, message = refuse_approval(approve(OWNER))
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert message.endswith("a signature by one of these is needed: model-board")


def test_an_approval_in_a_role_that_the_policy_does_not_know_is_refused() -> None:
    reason, message = refuse_approval(approve(role="ethics"))
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert message == 'the policy has no signer "ethics", so nobody can approve in that role'


def test_an_approval_from_the_future_is_refused() -> None:
    reason, message = refuse_approval(approve(at="2026-11-29T12:05:01Z"))
    assert reason is Reason.APPROVAL_MISSING
    assert message == 'the approval of "model-board" is dated 2026-11-29T12:05:01Z, which is still to come'


@pytest.mark.parametrize("text", ["", "no base64!", "e30=", base64.b64encode(b'{"keyid":"x","sig":"AA=="}').decode()])
def test_an_approval_whose_signature_is_misspelt_is_refused(text: str) -> None:
    reason, message = refuse_approval(replace(approve(), signature=text))
    assert reason is Reason.SEAL_INVALID
    assert "the approval" in message


@pytest.mark.parametrize(
    "change", [{"role": "no word"}, {"by": ""}, {"by": "x" * 257}, {"at": "today"}, {"at": "2026-13-01T00:00:00Z"}]
)
def test_an_approval_that_is_misspelt_is_refused(change: dict[str, str]) -> None:
    assert refuse_approval(replace(approve(), **change))[0] is Reason.SEAL_INVALID


def test_an_approval_by_the_key_of_its_role_holds() -> None:
    verify_approval(approve(), manifest_digest=digest_of(MANIFEST), signers=SIGNERS, at=NOW)


def test_an_approval_by_a_certificate_holds_until_the_certificate_ends() -> None:
    house = build_authorities()
    signers = parse_signers([house.text(name="model-board")])
    approval = approve(house.leaf.key, signature={"certificates": (house.leaf.der, house.between.der)})
    verify_approval(approval, manifest_digest=digest_of(MANIFEST), signers=signers, at=NOW)
    later = NOW + timedelta(days=31)
    reason, message = refusal(verify_approval, approval, manifest_digest=digest_of(MANIFEST), signers=signers, at=later)
    assert reason is Reason.SIGNER_NOT_TRUSTED
    assert "the certificate of CN=release,O=Example is valid from" in message
