"""RSA keys of the simulators; each is made once in a run, since making one takes longer than most tests."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def rsa_key(owner: str, version: int = 1) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)
