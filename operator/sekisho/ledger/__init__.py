"""The ledger: entries under a Merkle tree whose heads are signed; what proves, and what verifies. Pure."""
