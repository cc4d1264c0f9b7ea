"""Process 1 of a node: gives it mounts of its own, starts its programs, and takes everything along when it ends.

Runs as a script with the path of a JSON file: `{"binds": {target: source}, "cgroups": path, "steps": [...]}` where
each step is `{"start": name, "command": [...]}` or `{"succeeds": [...]}`, and `"log"` names the directory of their
logs. Standard library only.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.02


def mount_everything(binds: dict[str, str], cgroups: str) -> None:
    """Hide the host's state directories behind the node's, and its sysfs behind one of the node's network."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for target, source in binds.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", source, target], check=True)
    subprocess.run(["mount", "--rbind", "/sys/fs/cgroup", cgroups], check=True)
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    subprocess.run(["mount", "--rbind", cgroups, "/sys/fs/cgroup"], check=True)


def start(command: list[str], log: str) -> None:
    actions: Any = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsid=True)
    print(f"started {command[0]} as {pid}", flush=True)


def succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.umask(0o022)  # as a machine's own init has it: pods read files of the kubelet and of containerd as other users
    mount_everything(config["binds"], config["cgroups"])
    for step in config["steps"]:
        if "start" in step:
            start(step["command"], f"{config['log']}/{step['start']}.log")
        else:
            while not succeeds(step["succeeds"]):
                time.sleep(POLL_SECONDS)
    while True:  # orphans of containers come to us
        try:
            pid, status = os.wait()
            print(f"process {pid} ended with {os.waitstatus_to_exitcode(status)}", flush=True)
        except ChildProcessError:
            time.sleep(1)


if __name__ == "__main__":
    main()
