"""Commands that cannot be run are refused, not thrown about as the system's own errors."""

from pathlib import Path

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.netns import run


def test_a_program_that_is_gone_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as refusal:
        run((f"{tmp_path}/kubectl", "get", "nodes"), check=False)
    assert refusal.value.problem == f"{tmp_path}/kubectl cannot be run: No such file or directory"
    assert "start the cluster anew" in refusal.value.remedy
