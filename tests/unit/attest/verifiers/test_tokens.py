"""Attestation results of others: for us, of today, by a service that was configured, and good enough."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.tokens import TokenCollateral, TokenIssuer, verify_ear_token, verify_gcs_token
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, build_holder
from tests.unit.attest.token_signing import EC256, RSA2048, sign_token, token_key

SECONDS = int(NOW.timestamp())
BOUND = bytes(range(64))
# Shapes of Trustee's attestation service (attestation-service/docs/example.token.json), rewritten.
CPU = {
    "ear.status": "affirming",
    "ear.trustworthiness-vector": {"hardware": 2, "executables": 3},
    "ear.appraisal-policy-id": "default",
    "ear.veraison.annotated-evidence": {
        "report_data": BOUND.hex(),
        "init_data": "aa" * 32,
        "snp": {"measurement": "bb" * 48, "policy_debug_allowed": False, "platform": {"smt_enabled": True}},
    },
}
EAR = {
    "iss": "trustee",
    "eat_profile": "tag:github.com,2024:confidential-containers/Trustee",
    "iat": SECONDS - 10,
    "exp": SECONDS + 300,
    "submods": {"cpu0": CPU},
}
# Google's "Attestation token claims", rewritten.
GCS = {
    "iss": "https://confidentialcomputing.googleapis.com",
    "aud": "sekisho-broker",
    "iat": SECONDS - 10,
    "nbf": SECONDS - 10,
    "exp": SECONDS + 3600,
    "eat_nonce": [base64.b64encode(BOUND).decode()],
    "secboot": True,
    "hwmodel": "GCP_AMD_SEV",
    "swname": "CONFIDENTIAL_SPACE",
    "dbgstat": "disabled-since-boot",
    "submods": {
        "confidential_space": {"support_attributes": ["LATEST", "STABLE", "USABLE"]},
        "container": {"image_digest": f"sha256:{'cc' * 32}", "args": ["serve"], "env": {"A": "b"}},
        "gce": {"zone": "asia-northeast1-b"},
    },
}
TRUSTEE = TokenIssuer("trustee", (token_key(EC256),))
GOOGLE = TokenIssuer(GCS["iss"], (token_key(RSA2048, "g"),), audiences=("sekisho-broker",))  # type: ignore[arg-type]


def ear(claims: dict[str, Any] = EAR, issuer: TokenIssuer = TRUSTEE, **header: Any) -> Claims:
    evidence = UnverifiedEvidence("ear-token", sign_token(claims, **header))
    return verify_ear_token(evidence, TokenCollateral((issuer,)), at=NOW)


def gcs(claims: dict[str, Any] = GCS, issuer: TokenIssuer = GOOGLE) -> Claims:
    evidence = UnverifiedEvidence("gcs-token", sign_token(claims, RSA2048, "RS256", kid="g"))
    return verify_gcs_token(evidence, TokenCollateral((issuer,)), at=NOW)


def refused(act: Any, *args: Any, **options: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        act(*args, **options)
    return caught.value.reason, caught.value.message


def part(**changes: Any) -> dict[str, Any]:
    """Return an EAR whose one part is changed; "_" stands for "." and "-"."""
    return EAR | {"submods": {"cpu0": {**CPU, **{name.replace("_", "."): value for name, value in changes.items()}}}}


def annotated(**values: Any) -> dict[str, Any]:
    return EAR | {"submods": {"cpu0": {**CPU, "ear.veraison.annotated-evidence": values}}}


def without(claims: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name not in names}


@pytest.mark.parametrize(("act", "claims"), [(ear, EAR), (gcs, GCS)])
def test_tokens_of_issuers_that_nobody_configured_are_refused(act: Any, claims: dict[str, Any]) -> None:
    assert refused(act, claims | {"iss": "somebody"}) == (
        Reason.EVIDENCE_UNTRUSTED,
        "nobody configured the issuer 'somebody' of the token",
    )
    assert refused(act, without(claims, "iss"))[0] is Reason.EVIDENCE_UNTRUSTED


def test_the_key_of_one_issuer_is_not_that_of_another() -> None:
    issuers = TokenCollateral((TRUSTEE, TokenIssuer("other", (token_key(ec.generate_private_key(ec.SECP256R1())),))))
    evidence = UnverifiedEvidence("ear-token", sign_token(EAR | {"iss": "other"}))
    reason, message = refused(verify_ear_token, evidence, issuers, at=NOW)
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert "does not hold under the key" in message


@pytest.mark.parametrize(("act", "claims"), [(ear, EAR), (gcs, GCS)])
@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        ({"exp": SECONDS}, Reason.EVIDENCE_STALE, "the token expired at 2026-06-01T12:00:00Z, it is 2026-06-01T12"),
        ({"exp": SECONDS - 9}, Reason.EVIDENCE_STALE, "the token expired at 2026-06-01T11:59:51Z"),
        ({"iat": SECONDS + 61}, Reason.EVIDENCE_STALE, "the token is valid from 2026-06-01T12:01:01Z, it is"),
        ({"nbf": SECONDS + 61}, Reason.EVIDENCE_STALE, "the token is valid from 2026-06-01T12:01:01Z, it is"),
        ({"exp": None}, Reason.EVIDENCE_INVALID, "exp, nbf and iat are not the seconds of times, or exp is missing"),
        ({"exp": True}, Reason.EVIDENCE_INVALID, "exp, nbf and iat are not the seconds of times"),
        ({"exp": -1}, Reason.EVIDENCE_INVALID, "exp, nbf and iat are not the seconds of times"),
        ({"exp": 10**18}, Reason.EVIDENCE_INVALID, "exp, nbf and iat are not the seconds of times"),
        ({"iat": "now"}, Reason.EVIDENCE_INVALID, "exp, nbf and iat are not the seconds of times"),
    ],
)  # fmt: skip
def test_tokens_of_another_time_are_refused(
    act: Any, claims: dict[str, Any], change: dict[str, Any], reason: Reason, message: str
) -> None:
    got = refused(act, claims | change)
    assert got[0] is reason
    assert message in got[1]


def test_a_token_is_valid_from_its_latest_beginning_to_its_end() -> None:
    assert ear().window == Window(NOW - timedelta(seconds=10), NOW + timedelta(seconds=300))
    assert ear(EAR | {"nbf": SECONDS - 5}).window.not_before == NOW - timedelta(seconds=5)
    assert ear(EAR | {"iat": SECONDS + 30}).window.covers(NOW)
    assert ear(without(EAR, "iat")).window.not_before == NOW


@pytest.mark.parametrize(
    ("audience", "configured", "message"),
    [
        ("other", ("ours",), "the token is for 'other', ours is configured"),
        (["other", "more"], ("ours", "too"), "the token is for 'other', ours, too is configured"),
        ("other", (), "the token is for 'other', nobody is configured"),
        (None, ("ours",), "the token is for nobody, one for ours is wanted"),
        ([], ("ours",), "the token is for nobody, one for ours is wanted"),
    ],
)
def test_tokens_for_others_are_refused(audience: Any, configured: tuple[str, ...], message: str) -> None:
    issuer = TokenIssuer("trustee", TRUSTEE.keys, audiences=configured)
    claims = EAR if audience is None else EAR | {"aud": audience}
    assert refused(ear, claims, issuer) == (Reason.EVIDENCE_NOT_BOUND, message)


def test_a_token_for_several_is_for_each_of_them() -> None:
    issuer = TokenIssuer("trustee", TRUSTEE.keys, audiences=("ours",))
    assert ear(EAR | {"aud": ["other", "ours"]}, issuer).tee is Tee.RESULT


def test_a_certificate_of_another_name_does_not_speak_for_an_issuer() -> None:
    root = build_holder("Token Root")
    signer = build_holder("Mail Server", root, authority=False, curve=ec.SECP256R1())
    issuer = TokenIssuer("trustee", roots=(root.der,), subjects=("Trustee",))
    token = sign_token(EAR, signer.key, x5c=[base64.b64encode(signer.der).decode()])
    evidence = UnverifiedEvidence("ear-token", token)
    assert refused(verify_ear_token, evidence, TokenCollateral((issuer,)), at=NOW) == (
        Reason.EVIDENCE_UNTRUSTED,
        '"Mail Server" signed the token, Trustee may for "trustee"',
    )
    named = TokenIssuer("trustee", roots=(root.der,), subjects=("Mail Server",))
    claims = verify_ear_token(evidence, TokenCollateral((named,)), at=NOW)
    assert claims.window.not_after == NOW + timedelta(seconds=300)


# EAR


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("contraindicated", "contraindicated"),
        ("warning", "warning"),
        ("none", "none"),
        (0, "none"),
        (32, "warning"),
        (96, "contraindicated"),
        (7, "7"),
        (None, "none"),
        (["affirming"], "none"),
    ],
)
def test_a_part_that_is_not_affirmed_is_refused(status: Any, told: str) -> None:
    assert refused(ear, part(ear_status=status)) == (
        Reason.APPRAISAL_FAILED,
        f'the token calls "cpu0" {told}, affirming is wanted',
    )


def test_every_part_must_be_affirmed() -> None:
    claims = EAR | {"submods": {"cpu0": CPU, "gpu0": {**CPU, "ear.status": "warning"}}}
    assert refused(ear, claims)[1] == 'the token calls "gpu0" warning, affirming is wanted'
    lenient = TokenIssuer("trustee", TRUSTEE.keys, statuses=frozenset({"affirming", "warning"}))
    assert ear(claims, lenient).fact("gpu0.ear.status") == "warning"


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (without(EAR, "submods"), "its submods are not an object of objects"),
        (EAR | {"submods": {"cpu0": 7}}, "its submods are not an object of objects"),
        (EAR | {"submods": {"gpu0": CPU}}, 'it says nothing about "cpu0"'),
        (part(**{"ear_veraison_annotated-evidence": []}), "its annotated evidence is not an object"),
        (EAR | {"eat_nonce": []}, "it commits to 0 nonces, one is wanted"),
        (EAR | {"eat_nonce": "short"}, "it has no nonce of 8 to 128 characters"),
        (EAR | {"eat_nonce": 7}, "it has no nonce of 8 to 128 characters"),
        (annotated(**{str(number): number for number in range(1025)}), "it has more than 1024 claims"),
        (annotated(a={"b": 1}, **{"a.b": 2}), 'or "cpu0.a.b" stands twice or is too long'),
        (annotated(long="x" * 4096), 'or "cpu0.long" stands twice or is too long'),
        (annotated(a={"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}), "its claims are deeper than 8 levels"),
    ],
)
def test_an_ear_that_cannot_be_read_is_refused(claims: dict[str, Any], message: str) -> None:
    reason, text = refused(ear, claims)
    assert reason is Reason.EVIDENCE_INVALID
    assert message in text


@pytest.mark.parametrize(
    "values",
    [
        {"sample": {"debug": False}},
        {"sampledevice": {"svn": "1"}},
        {"snp": {"policy_debug_allowed": True}},
        {"snp": {"policy_debug_allowed": "1"}},
        {"tdx": {"td_attributes": {"debug": True}}},
        {"sgx": {"body": {"attributes.flags": "0700000000000000"}}},
        {"sgx": {"body": {"attributes.flags": ""}}},
    ],
)
def test_results_about_samples_and_debugged_guests_are_told_as_debug(values: dict[str, Any]) -> None:
    assert ear(annotated(**values)).debug


def test_an_ear_that_holds_says_what_was_found() -> None:
    claims = ear()
    assert claims.tee is Tee.RESULT
    assert not claims.debug
    assert claims.tcb_status is TcbStatus.UNKNOWN
    assert claims.bound_data == BOUND
    assert claims.configuration == b"\xaa" * 32
    assert claims.chip_id is None
    assert claims.fact("issuer") == "trustee"
    assert claims.fact("cpu0.ear.status") == "affirming"
    assert claims.fact("cpu0.ear.trustworthiness-vector.hardware") == "2"
    assert claims.fact("cpu0.snp.measurement") == "bb" * 48
    assert claims.fact("cpu0.snp.platform.smt_enabled") == "true"
    assert list(claims.facts) == sorted(claims.facts)


def test_an_ear_of_a_td_says_how_its_platform_stands() -> None:
    tdx = {"tcb_status": "OutOfDate", "advisory_ids": ["INTEL-SA-2", "INTEL-SA-1"], "td_attributes": {"debug": False}}
    claims = ear(
        annotated(report_data=base64.b64encode(BOUND).decode(), tdx=tdx, uefi_event_logs=[{"index": 1}], no=None)
    )
    assert claims.tcb_status is TcbStatus.OUT_OF_DATE
    assert claims.advisories == ("INTEL-SA-1", "INTEL-SA-2")
    assert claims.bound_data == BOUND
    assert claims.configuration == b""
    assert claims.fact("cpu0.uefi_event_logs") is None
    assert not claims.debug


def test_an_enclave_of_sgx_that_is_not_debugged_is_not_told_as_debug() -> None:
    assert not ear(annotated(sgx={"body": {"attributes.flags": "0500000000000000"}})).debug


@pytest.mark.parametrize(
    ("nonce", "bound"),
    [
        (BOUND[:32].hex(), BOUND[:32]),
        (base64.b64encode(BOUND).decode(), BOUND),
        (base64.urlsafe_b64encode(b"\xff" * 64).decode().rstrip("="), b"\xff" * 64),
        ([BOUND.hex()], BOUND),
        ("not any code!", b"not any code!"),
    ],
)
def test_a_nonce_is_what_an_ear_is_bound_to(nonce: Any, bound: bytes) -> None:
    assert ear(EAR | {"eat_nonce": nonce}).bound_data == bound


# Confidential Space


def test_a_token_of_something_other_than_confidential_space_is_refused() -> None:
    assert refused(gcs, GCS | {"swname": "GCE"}) == (
        Reason.EVIDENCE_INVALID,
        "the token cannot be used: its swname is 'GCE', not CONFIDENTIAL_SPACE",
    )


def test_without_a_configured_audience_no_token_of_google_is_believed() -> None:
    issuer = TokenIssuer(GOOGLE.issuer, GOOGLE.keys)
    assert refused(gcs, without(GCS, "aud"), issuer) == (
        Reason.COLLATERAL_INVALID,
        'no audience is configured for tokens of "https://confidentialcomputing.googleapis.com", so any would do',
    )


def test_a_token_with_several_nonces_is_refused() -> None:
    reason, message = refused(gcs, GCS | {"eat_nonce": ["first-nonce", "second-nonce"]})
    assert reason is Reason.EVIDENCE_INVALID
    assert message.endswith("it commits to 2 nonces, one is wanted")
    assert refused(gcs, without(GCS, "eat_nonce"))[1].endswith("it has no nonce of 8 to 128 characters")


@pytest.mark.parametrize("change", [{"dbgstat": "enabled"}, {"dbgstat": True}, {"dbgstat": None}])
def test_a_machine_that_can_be_looked_into_is_told_as_debug(change: dict[str, Any]) -> None:
    assert gcs(GCS | change).debug


@pytest.mark.parametrize("digest", ["", "sha512:" + "cc" * 32, "sha256:cc", "sha256:?", "cc" * 32])
def test_an_image_without_a_digest_is_not_measured(digest: str) -> None:
    assert gcs(GCS | {"submods": {"container": {"image_digest": digest}}}).measurement == b""


def test_a_token_that_holds_says_what_runs() -> None:
    claims = gcs()
    assert claims.tee is Tee.RESULT
    assert not claims.debug
    assert claims.measurement == b"\xcc" * 32
    assert claims.bound_data == BOUND
    assert claims.fact("hwmodel") == "GCP_AMD_SEV"
    assert claims.fact("secboot") == "true"
    assert claims.fact("submods.confidential_space.support_attributes") == "LATEST,STABLE,USABLE"
    assert claims.fact("submods.container.env.A") == "b"
    assert claims.fact("iss") == GOOGLE.issuer


def test_bounds_of_a_token_are_included() -> None:
    assert ear(EAR | {"iat": SECONDS + 60}).window.covers(NOW)
    assert ear(EAR | {"iat": 0, "exp": 253_402_300_799}).window.not_after.year == 9999
    assert refused(ear, EAR | {"exp": 253_402_300_800})[0] is Reason.EVIDENCE_INVALID
    assert ear(EAR | {"eat_nonce": "n" * 8}).bound_data
    assert ear(EAR | {"eat_nonce": "?" * 128}).bound_data == b"?" * 128
    assert ear(EAR | {"eat_nonce": "\ud800" * 8}).bound_data == b"?" * 8  # signs that are none are no bytes of ours
    assert refused(ear, EAR | {"eat_nonce": "?" * 129})[0] is Reason.EVIDENCE_INVALID
    assert refused(ear, EAR | {"eat_nonce": "?" * 7})[0] is Reason.EVIDENCE_INVALID


def test_bounds_of_claims_are_included() -> None:
    others = len(ear(annotated()).facts)
    assert len(ear(annotated(**{str(number): number for number in range(1024 - others)})).facts) == 1024
    assert (
        refused(ear, annotated(**{str(number): number for number in range(1025 - others)}))[0]
        is Reason.EVIDENCE_INVALID
    )
    room = 4096 - len("cpu0.a")
    assert len(ear(annotated(a="x" * room)).fact("cpu0.a") or "") == room
    assert refused(ear, annotated(a="x" * (room + 1)))[0] is Reason.EVIDENCE_INVALID
    assert ear(annotated(a={"b": {"c": {"d": {"e": {"f": 1}}}}})).fact("cpu0.a.b.c.d.e.f") == "1"
    assert ear(annotated(a={"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}})).fact("cpu0.a.b.c.d.e.f.g") == "1"
    assert refused(ear, annotated(a={"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}))[0] is Reason.EVIDENCE_INVALID


def test_a_status_by_number_is_told_by_name() -> None:
    claims = ear(part(ear_status=2))
    assert claims.fact("cpu0.ear.status") == "affirming"
    assert claims.fact("cpu0.ear.appraisal-policy-id") == "default"


def test_flags_that_say_no_are_no_debug() -> None:
    assert not ear(annotated(snp={"policy_debug_allowed": "0"}, tdx={"td_attributes": {"debug": "false"}})).debug


def test_a_nonce_is_read_in_either_alphabet_of_base64() -> None:
    data = b"\xfb\xef\xff" * 16
    for spelt in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
        assert ear(EAR | {"eat_nonce": spelt.decode()}).bound_data == data
