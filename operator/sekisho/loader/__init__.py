"""Load sealed weights: from ciphertext in a folder into private memory; nothing is used before its tag held."""
