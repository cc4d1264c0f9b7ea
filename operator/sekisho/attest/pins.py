"""Roots of hardware that count: their makers' own, by the digest of each certificate.

They stand in the code and not in a setting: whoever may change what an installation imports could otherwise make
hardware of their own count. Sources: AMD's key distribution service (kdsintf.amd.com), Intel's provisioning
certification service, NVIDIA's device identity CA and its CoRIM signing root, "AWS Nitro Enclaves root certificate" in
AWS's documentation.
"""

from collections.abc import Mapping
from typing import Final

PINS: Final[Mapping[str, frozenset[str]]] = {
    "amd": frozenset({
        "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",  # ARK-Milan
        "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",  # ARK-Genoa
        "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",  # ARK-Turin
    }),
    "intel": frozenset({"44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"}),
    "nvidia": frozenset({"102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"}),
    "nvidia-rim": frozenset({"12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1"}),
    "aws": frozenset({"641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"}),
}  # fmt: skip
"""By maker, and what else a maker signs: SHA-256 of the DER of each root."""
