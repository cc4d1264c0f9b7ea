"""Evidence that was recorded on real hardware; it is no part of the project; what needs it is skipped without."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding


def read_recorded(name: str) -> bytes:
    """Return a recorded file, or skip the test that asks for it."""
    for parent in Path(__file__).parents:
        path = parent.parent / "shared" / "vectors" / name
        if path.is_file():
            return path.read_bytes()
    pytest.skip(f"recorded evidence ../shared/vectors/{name} is not here")


def read_certificates(name: str) -> tuple[bytes, ...]:
    """Return the certificates of a recorded file as DER, whether it has DER or PEM."""
    data = read_recorded(name)
    if b"-----BEGIN" not in data:
        return (data,)
    return tuple(each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(data))
