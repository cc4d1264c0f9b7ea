"""The process on every node that asks the node's TPM and firmware for evidence, for the node and for its pods."""
