"""Verify an enveloped signature over a whole XML document (XML Signature 1.1) in the one profile of NVIDIA's manifests.

One signature, directly in the root; one reference, to all of the document but the signature; ECDSA P-384 with SHA-384
by a certificate that leads to a pinned root. There is nothing to choose, so nothing can be wrapped or pointed
elsewhere.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sekisho.attest.chains import parse_certificate, verify_chain
from sekisho.attest.claims import Window
from sekisho.attest.ecdsa import verify_ecdsa
from sekisho.attest.xmltree import Element, canonicalize
from sekisho.errors import Reason, RefusedError

DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
MAX_CERTIFICATES: Final = 6
_C14N: Final = "http://www.w3.org/2006/12/xml-c14n11"
_ENVELOPED: Final = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_ECDSA_SHA384: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
_SHA384: Final = "http://www.w3.org/2001/04/xmldsig-more#sha384"


def verify_enveloped(root: Element, roots: Sequence[bytes], *, at: datetime) -> Window:
    """Verify the signature in `root` over all of it, and return for when its certificates are valid.

    Raises:
        RefusedError: CollateralInvalid; CollateralExpired where only the time is wrong.
    """
    signature = _one(root, "Signature")
    info = _one(signature, "SignedInfo")
    _check_algorithm(info, "CanonicalizationMethod", _C14N)
    _check_algorithm(info, "SignatureMethod", _ECDSA_SHA384)
    reference = _one(info, "Reference")
    if reference.attribute("URI") != "":
        raise _invalid("its signature is not over the whole document")
    transforms = _one(reference, "Transforms").elements(DSIG, "Transform")
    if [each.attribute("Algorithm") for each in transforms] != [_ENVELOPED, _C14N]:
        raise _invalid("its signature is not enveloped and in canonical form 1.1")
    _check_algorithm(reference, "DigestMethod", _SHA384)
    digest = hashlib.sha384(canonicalize(root, without=signature)).digest()
    if _decode(_one(reference, "DigestValue")) != digest:
        raise _invalid("its content is not what was signed")
    return _verify_signer(signature, canonicalize(info), roots, at=at)


def _verify_signer(signature: Element, signed: bytes, roots: Sequence[bytes], *, at: datetime) -> Window:
    items = _one(_one(signature, "KeyInfo"), "X509Data").elements(DSIG, "X509Certificate")
    if not 1 <= len(items) <= MAX_CERTIFICATES:
        raise _invalid(f"its signature comes with {len(items)} certificates, 1 to {MAX_CERTIFICATES} are allowed")
    chain = [_decode(each) for each in items]
    try:
        for each in map(parse_certificate, chain):
            if not each.window.covers(at):
                raise RefusedError(
                    Reason.COLLATERAL_EXPIRED,
                    f"a manifest is signed by {each.who}, valid from {each.window.not_before:%Y-%m-%d} to "
                    f"{each.window.not_after:%Y-%m-%d}, it is {at:%Y-%m-%d}; import a newer one",
                )
        verified = verify_chain(chain, roots, at=at)
        verify_ecdsa(
            verified.leaf.key, _decode(_one(signature, "SignatureValue")), signed, name="the manifest's signed part"
        )
    except RefusedError as error:
        if error.reason in {Reason.COLLATERAL_EXPIRED, Reason.COLLATERAL_MISSING}:
            raise
        raise _invalid(error.message) from error
    return verified.window


def _one(parent: Element, local: str) -> Element:
    found = parent.elements(DSIG, local)
    if len(found) != 1:
        raise _invalid(f"it has {len(found)} {local} in its {parent.local}, not one")
    return found[0]


def _check_algorithm(parent: Element, local: str, wanted: str) -> None:
    element = _one(parent, local)
    if element.attribute("Algorithm") != wanted or element.children:
        raise _invalid(f"its {local} is not {wanted}")


def _decode(element: Element) -> bytes:
    try:
        return base64.b64decode("".join(element.text().split()), validate=True)
    except ValueError as error:
        raise _invalid(f"its {element.local} is not base64") from error


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, f"the manifest cannot be used: {what}")
