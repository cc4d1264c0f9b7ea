"""Callers by certificate: one name or none."""

from typing import Any

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.gateway.peers import read_peer

SUBJECT = ((("organizationName", "Example"),), (("commonName", "batch"),))
TWO = ((("commonName", "a"),), (("commonName", "b"),))
NOBODY: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 0),
    "hosts alone": ({"subjectAltName": (("DNS", "batch.test"),)}, 0),
    "two common names": ({"subject": TWO}, 2),
    "two URIs": ({"subject": SUBJECT, "subjectAltName": (("URI", "spiffe://a/b"), ("URI", "spiffe://a/c"))}, 2),
    "a name with a line break": ({"subject": ((("commonName", "a\nb"),),)}, 1),
    "an empty name": ({"subject": ((("commonName", ""),),)}, 1),
    "a name without end": ({"subject": ((("commonName", "a" * 257),),)}, 1),
}


@pytest.mark.parametrize(("certificate", "count"), NOBODY.values(), ids=NOBODY)
def test_a_certificate_that_names_not_exactly_one_is_refused(certificate: dict[str, Any], count: int) -> None:
    with pytest.raises(RefusedError) as refused:
        read_peer(certificate)
    assert refused.value.reason is Reason.UNAUTHENTICATED
    assert f"the certificate of the connection names {count} callers" in refused.value.message


def test_a_uri_counts_before_the_common_name() -> None:
    assert read_peer({"subject": SUBJECT}) == "mtls:batch"
    uri = (("DNS", "x"), ("URI", "spiffe://example.test/batch"))
    assert read_peer({"subject": SUBJECT, "subjectAltName": uri}) == "mtls:spiffe://example.test/batch"
