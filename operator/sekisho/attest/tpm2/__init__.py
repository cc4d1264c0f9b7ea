"""TPM 2.0 without I/O: commands as bytes, answers read within bounds, and the credential that only one TPM can open."""
