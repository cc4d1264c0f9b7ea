"""Run the mutants of whole rooms: `python -m tests.mutation.rooms attest broker/kbs_release.py`, each module by itself.

A module's tests are those that mirror its path, or those that are named here. Those that are slow, or flip bytes
at random, are left out: they make each survivor take long, and what only they would tell wants a test that says so.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "operator" / "sekisho"
UNIT = REPOSITORY / "tests" / "unit"
OTHERWISE = {
    "attest/certificates.py": ("attest/test_chains.py", "attest/test_link_memory.py", "attest/verifiers/test_snp.py"),
    "attest/chains.py": ("attest/test_chains.py", "attest/test_chain_memory.py", "attest/test_link_memory.py"),
    "attest/revocation.py": ("attest/test_chains.py", "attest/test_link_memory.py"),
    "attest/pins.py": ("attest/test_collateral.py",),
    "attest/verifiers/azure_hcl.py": ("attest/verifiers/test_azure.py",),
    "attest/verifiers/nvidia.py": (
        "attest/verifiers/test_nvidia.py",
        "attest/test_manifests.py",
        "attest/test_ocsp.py",
    ),
    "attest/verifiers/snp_endorsement.py": ("attest/verifiers/test_snp.py",),
    "attest/verifiers/snp_report.py": ("attest/verifiers/test_snp.py",),
    "attest/verifiers/tdx_facts.py": ("attest/verifiers/test_tdx.py", "attest/verifiers/test_tdx_quote.py"),
    "attest/verifiers/tpm_quote.py": ("attest/verifiers/test_tpm.py",),
    "attest/verifiers/tpm_structures.py": ("attest/verifiers/test_tpm.py",),
    "seal/resource.py": ("seal/test_resource.py", "broker/test_kbs_shapes.py"),
    "broker/cluster.py": ("broker/test_cluster.py", "broker/test_refusals.py", "broker/test_release.py"),
    "broker/release.py": tuple(f"broker/test_{name}.py" for name in ("release", "leases", "refusals", "edges")),
    "broker/turns.py": ("broker/test_threads.py",),
    "broker/verifying.py": ("broker/test_verifying.py", "broker/test_edges.py"),
    "broker/wire.py": ("broker/test_edges.py", "broker/test_rules_memory.py", "broker/test_release.py"),
}
WHOLE = frozenset({"attest/xmltree.py", "broker/keys.py"})
"""Modules of which something is told by slow tests alone."""
LEFT_OUT = " and ".join(f"not {word}" for word in ("any_bytes", "any_json", "flipped", "arbitrary", "no_bytes"))


def main() -> int:
    """Run what is named; return the highest exit status."""
    modules = [module for word in sys.argv[1:] for module in _list_modules(word)]
    status = 0 if modules else 2
    for module in modules:
        name = module.relative_to(PACKAGE).as_posix()
        tests = [UNIT / each for each in OTHERWISE.get(name, (_mirror(name),))]
        words = [*map(str, tests), "-k", LEFT_OUT, *([] if name in WHOLE else ["-m", "not slow"])]
        print(f"{name}:", flush=True)
        done = subprocess.run([sys.executable, "-m", "tests.mutation", str(module), "--", *words], check=False)
        status = max(status, done.returncode)
    return status


def _list_modules(word: str) -> Iterator[Path]:
    path = PACKAGE / word
    yield from (each for each in sorted(path.rglob("*.py")) if each.name != "__init__.py") if path.is_dir() else [path]


def _mirror(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/test_{file}"


if __name__ == "__main__":
    sys.exit(main())
