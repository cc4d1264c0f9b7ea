"""Open the key service that the command line names."""

import os

from sekisho.errors import Reason, RefusedError
from sekisho.kms.choose import open_key_service, parse_key_address
from sekisho.kms.service import KeyService


def open_keys(kms: str, allow_unsafe: bool) -> KeyService:
    """Open the service of an address; nobody is asked yet."""
    return open_key_service(kms, os.environ, allow_unsafe=allow_unsafe)


def open_same(kms: str, key_id: str, allow_unsafe: bool) -> KeyService:
    """Open the service of an address that must name the key a model is sealed with."""
    named = parse_key_address(kms).key_id
    if named != key_id:
        raise RefusedError(Reason.KEY_MISMATCH, f"the model is sealed with key {key_id}, --kms names {named}")
    return open_keys(kms, allow_unsafe)
