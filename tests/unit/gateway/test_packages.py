"""The gateway's image has the packages of the gateway, and none of other processes."""

import os
import subprocess
import sys

import pytest

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "kopf"}:
            raise ModuleNotFoundError(f"{name} is not in the image")

sys.meta_path.insert(0, Blocked())
import sekisho.gateway.main
"""


@pytest.mark.slow
def test_the_gateway_begins_without_what_only_the_controller_needs() -> None:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", BLOCKED], env=environ, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
