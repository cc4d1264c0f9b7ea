"""Fills a stock of images: process 1 of namespaces of its own, so that nothing of it stays, however it ends.

Runs as a script with the path of a JSON file: `{"root": folder, "configuration": file, "commands": [[...], ...]}`; the
commands need containerd. Standard library only.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.02


def mount_everything(root: str) -> None:
    """Hide the host's containerd behind ours."""
    for target in ("/var/lib/containerd", "/run/containerd"):
        Path(target).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", root, "/var/lib/containerd"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/containerd"], check=True)


def wait_for(containerd: "subprocess.Popen[bytes]") -> None:
    while subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode != 0:
        if containerd.poll() is not None:
            sys.exit(f"containerd ended with {containerd.returncode}")
        time.sleep(POLL_SECONDS)


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    os.umask(0o022)  # who is first may be anyone with any umask; others run what it unpacks
    mount_everything(config["root"])
    containerd = subprocess.Popen(["containerd", "-c", config["configuration"]])
    wait_for(containerd)
    for command in config["commands"]:
        if (code := subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode) != 0:
            sys.exit(f"`{' '.join(command)}` ended with {code}")
    containerd.terminate()
    sys.exit(containerd.wait())


if __name__ == "__main__":
    main()
