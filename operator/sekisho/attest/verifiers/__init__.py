"""One verifier a kind of evidence: bytes, roots and collateral in, claims out."""
