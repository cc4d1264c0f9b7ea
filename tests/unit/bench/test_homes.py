"""The interpreter that gateways are measured on is of our version, and finds all that we import."""

import os
import subprocess
import sys

from bench.homes import find_packages, find_python

_SAY = """
import ssl, sys
import cryptography.x509, re2
import bench.homes, sekisho.gateway
print(*sys.version_info[:2], bench.homes.__file__)
"""


def test_what_gateways_run_on_finds_our_packages_and_its_own_library() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(find_packages())}
    said = subprocess.run([find_python(), "-c", _SAY], env=env, capture_output=True, text=True, check=True).stdout
    own = sys.modules["bench.homes"].__file__
    assert said.split() == [str(sys.version_info.major), str(sys.version_info.minor), own]
