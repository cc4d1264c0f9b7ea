"""Reference manifests of a made-up maker of devices, signed as NVIDIA signs its own."""

import base64
import hashlib
from collections.abc import Mapping, Sequence

from sekisho.attest.xmldsig import DSIG
from sekisho.attest.xmltree import canonicalize, parse_xml
from tests.simulators.hardware.authorities import Holder, build_holder
from tests.simulators.hardware.nitro import raw_signature

C14N = "http://www.w3.org/2006/12/xml-c14n11"
SIGNED_INFO = (
    f'<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{C14N}"/>'
    '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"/>'
    '<ds:Reference URI=""><ds:Transforms>'
    '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'
    f'<ds:Transform Algorithm="{C14N}"/></ds:Transforms>'
    '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"/>'
    "<ds:DigestValue>DIGEST</ds:DigestValue></ds:Reference></ds:SignedInfo>"
)


class Publisher:
    """Who publishes manifests: a root, an authority below it, and a signer."""

    def __init__(self) -> None:
        self.root = build_holder("Manifest Root CA")
        self.authority = build_holder("Manifest CA", self.root)
        self.signer = build_holder("Manifest Signer", self.authority, authority=False)

    @property
    def chain(self) -> tuple[Holder, ...]:
        return (self.signer, self.authority, self.root)

    def publish(self, version: str, golden: Mapping[int, Sequence[bytes]], **options: str) -> bytes:
        """Return a signed manifest."""
        return sign(render(version, golden, **options), self.chain)


def render(version: str, golden: Mapping[int, Sequence[bytes]], *, product: str = "GH100", edition: str = "GPU") -> str:
    """Return a manifest without a signature: 64 entries, the golden ones active."""
    entries = "".join(render_entry(index, golden.get(index, [])) for index in range(64))
    return (
        '<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" '
        'xmlns:ns0="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" '
        'xmlns:ns2="http://www.w3.org/2001/04/xmlenc#sha384" name="A &amp; B" tagId="1">\n'
        '  <ns0:Entity role="tagCreator softwareCreator" name="Maker"/>\n'
        f'  <ns0:Meta colloquialVersion="{version}" edition="{edition}" product="{product}"/>\n'
        f'  <ns0:Payload xmlns:SHA384="http://www.w3.org/2001/04/xmlenc#sha384">{entries}</ns0:Payload>\n'
        "</SoftwareIdentity>"
    )


def render_entry(index: int, values: Sequence[bytes]) -> str:
    """Return one entry, inactive where it has no values."""
    shown = values or [bytes(48)]
    hashes = " ".join(f'ns2:Hash{number}="{value.hex()}"' for number, value in enumerate(shown))
    return (
        f'<ns0:Resource type="Measurement" index="{index}" active="{bool(values)}" alternatives="{len(shown)}" '
        f'{hashes} name="Measurement_{index}" size="48"/>'
    )


def sign(xml: str, chain: Sequence[Holder], *, info: str = SIGNED_INFO, tail: str = "") -> bytes:
    """Sign a document by the first of a chain; `info` may ask for something else than it should."""
    digest = base64.b64encode(hashlib.sha384(canonicalize(parse_xml(xml.encode()))).digest()).decode()
    certificates = "".join(
        f"<ds:X509Certificate>{base64.encodebytes(each.der).decode()}</ds:X509Certificate>" for each in chain
    )
    signature = (
        f'<ds:Signature xmlns:ds="{DSIG}">{info.replace("DIGEST", digest)}<ds:SignatureValue>VALUE</ds:SignatureValue>'
        f"<ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>{tail}"
    )
    end = xml.rindex("</")
    document = xml[:end] + signature + xml[end:]
    signed = parse_xml(document.encode()).elements(DSIG, "Signature")[0].elements(DSIG, "SignedInfo")
    value = raw_signature(chain[0].key, canonicalize(signed[0])) if signed and chain else bytes(96)
    return document.replace("VALUE", base64.b64encode(value).decode()).encode()
