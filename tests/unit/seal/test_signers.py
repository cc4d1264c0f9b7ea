"""The signers of a policy: what cannot be used is refused when the policy is read, not when a model is."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sekisho.errors import Reason, RefusedError
from sekisho.seal.signers import SignerText, parse_signers, read_signer_texts
from tests.unit.seal.signing import build_authorities, certify, curve_key, ed25519_key, pem_of, rsa_key

OWNER = pem_of(ed25519_key("owner"))
HOUSE = build_authorities()
SECRET = ed25519_key("owner").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def refuse(*items: SignerText) -> str:
    with pytest.raises(RefusedError) as caught:
        parse_signers(items)
    assert caught.value.reason is Reason.POLICY_INVALID
    return caught.value.message


def with_key(pem: str) -> SignerText:
    return SignerText("release", (pem,))


def with_authority(**change: Any) -> SignerText:
    return replace(HOUSE.text(name="release"), **change)


def test_a_signer_whom_nobody_could_sign_as_is_refused() -> None:
    assert refuse(SignerText("release")) == (
        'signer "release" has neither a public key nor an authority, so nobody could sign as it'
    )


def test_a_private_key_in_a_policy_is_refused_without_being_shown() -> None:
    message = refuse(with_key(SECRET))
    assert message.startswith('signer "release": public key 1 is a private key; replace that key')
    assert not set(SECRET.splitlines()[1:-1]) & set(message.split())


@pytest.mark.parametrize(
    ("pem", "told"),
    [
        ("", "is not one PEM block"),
        (OWNER + OWNER, "is not one PEM block"),
        (OWNER + " " * 5000, "is not one PEM block"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is not a public key in PEM"),
        (pem_of(rsa_key()), "cannot sign here; Ed25519, ECDSA P-256 and ECDSA P-384 can be used"),
        (pem_of(curve_key(ec.SECP256K1())), "cannot sign here"),
        (pem_of(x25519.X25519PrivateKey.generate()), "cannot sign here"),
    ],
)  # fmt: skip
def test_what_is_no_key_that_may_sign_is_refused(pem: str, told: str) -> None:
    assert told in refuse(with_key(pem))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"subjects": ()}, "has an authority without certificates or without subjects; both are needed"),
        ({"certificates": ()}, "has an authority without certificates or without subjects; both are needed"),
        ({"certificates": ("nothing",)}, "is not a list of root certificates in PEM"),
        ({"certificates": (HOUSE.leaf.pem,)}, "is not a list of root certificates in PEM"),
        ({"certificates": (certify("CN=x", ca=False, constrained=True).pem,)}, "1 may not issue others"),
        ({"certificates": (HOUSE.root.pem,) * 9}, "has 9 certificates, 8 are allowed; 0 may not issue others"),
        ({"certificates": ("x" * 200_000,)}, "has 200000 bytes, 131072 are allowed"),
        ({"subjects": ("",)}, "has 0 characters, 1 to 1024 are allowed"),
        ({"subjects": ("x" * 1025,)}, "has 1025 characters, 1 to 1024 are allowed"),
        ({"subjects": ("email:",)}, 'is "email:", which names nobody'),
        ({"subjects": ("release@example.org",)}, "no name like CN=release,O=Example, email:…, uri:… or dns:…"),
        ({"subjects": (" ",)}, "no name like"),
        ({"subjects": ("CN=a",) * 33}, "has more than 16 keys or 32 subjects"),
    ],
)  # fmt: skip
def test_an_authority_that_cannot_vouch_is_refused(change: dict[str, Any], told: str) -> None:
    assert told in refuse(with_authority(**change))


def test_a_key_that_two_signers_share_is_refused_because_one_signature_would_count_twice() -> None:
    assert refuse(with_key(OWNER), SignerText("board", (OWNER,))) == (
        'signers "release" and "board" share a key or a certificate\'s subject, so one signature would count for both; '
        "name one signer in both places of the policy instead"
    )


def test_a_subject_of_one_root_that_two_signers_share_is_refused() -> None:
    assert "share a key or a certificate's subject" in refuse(HOUSE.text(name="a"), HOUSE.text(name="b"))


def test_two_subjects_of_one_root_may_be_two_signers() -> None:
    signers = parse_signers([HOUSE.text("CN=a", name="a"), HOUSE.text("CN=b", name="b")])
    assert [signer.name for signer in signers] == ["a", "b"]


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "-x"])
def test_a_signer_without_a_plain_name_is_refused(name: str) -> None:
    assert "is not named by letters, digits, dash, dot and underscore" in refuse(SignerText(name, (OWNER,)))


def test_more_signers_keys_and_authorities_than_allowed_are_refused() -> None:
    keys = [pem_of(ed25519_key(str(number))) for number in range(65)]
    assert "has more than 16 keys" in refuse(SignerText("release", tuple(keys[:17])))
    assert "has 17 keys and 0 authorities, 16 and 8 are allowed" in refuse(*map(with_key, keys[:17]))
    assert "there are 65 signers, 64 are allowed" in refuse(*(SignerText(f"s{n}", (k,)) for n, k in enumerate(keys)))
    assert "0 keys and 9 authorities" in refuse(*[HOUSE.text(name="release")] * 9)


def test_a_key_is_shown_by_its_id_only() -> None:
    (signer,) = parse_signers([with_key(OWNER)])
    assert repr(signer.keys[0]) == f"PublicKey(key_id='{signer.keys[0].key_id}')"


def spell(**change: Any) -> dict[str, Any]:
    return {"name": "release", "publicKeys": [OWNER]} | change


AUTHORITY = {"certificates": [HOUSE.root.pem], "subjects": ["CN=release,O=Example"]}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "signers is no list of at most 64 items"),
        ([spell()] * 65, "signers is no list of at most 64 items"),
        (["text"], "signers[0] is no object"),
        ([spell(keys=[])], 'signers[0] has the field "keys"; known are name, publicKeys, authorities'),
        ([{"publicKeys": [OWNER]}], "signers[0].name is no text"),
        ([spell(publicKeys=[1])], "signers[0].publicKeys is no text"),
        ([spell(authorities=[{}])], "signers[0].authorities[0].certificates is no list"),
        ([spell(authorities=[AUTHORITY | {"subjects": []}])], "authorities[0] lacks certificates or subjects"),
        ([spell(), spell(publicKeys=[])], "two signers have the same name; give each its own"),
    ],
    ids=range(9),
)
def test_signers_that_are_not_spelt_as_in_a_policy_are_refused(value: object, told: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_signer_texts(value)
    assert caught.value.reason is Reason.POLICY_INVALID
    assert told in caught.value.message


def test_signers_are_read_as_a_policy_spells_them() -> None:
    (signer,) = parse_signers(read_signer_texts([spell(authorities=[AUTHORITY, AUTHORITY | {"subjects": ["CN=b"]}])]))
    assert (signer.name, len(signer.keys)) == ("release", 1)
    assert [authority.subjects for authority in signer.authorities] == [("CN=release,O=Example",), ("CN=b",)]
