"""Which tests share a worker, and which begin first, where `make test` runs several at once."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# What shares a cluster of real nodes stays on one worker; the rest goes module by module. The longest begin first.
SHARING = {
    "e2e/lifecycle": "lifecycle",
    "e2e/engines": "lifecycle",
    "e2e/isolation": "isolation",
    "e2e/weights": "isolation",
}
LONGEST = (
    "isolation",
    "lifecycle",
    "tests/integration/controller/test_drift.py",
    "tests/integration/controller/test_crash.py",
    "tests/integration/controller/test_reconcile.py",
    "tests/integration/controller/test_outage.py",
    "e2e/cluster/tests/test_cluster.py",
    "inference-images/vllm/test_smoke.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group and order the tests."""
    ranks = {}
    for item in items:
        path = item.path.relative_to(ROOT)
        group = SHARING.get(str(path.parent), str(path))
        item.add_marker(pytest.mark.xdist_group(group))
        ranks[item] = LONGEST.index(group) if group in LONGEST else len(LONGEST)
    items.sort(key=lambda item: ranks[item])
