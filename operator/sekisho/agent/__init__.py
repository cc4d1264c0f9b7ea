"""The process in a model's pod: closes its network, proves that it is closed, brings the weights and unseals them.

Standard library and cryptography alone.
"""
