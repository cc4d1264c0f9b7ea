"""Run in a namespace: try what a pod could try, print what came of it as JSON. Arguments: host:port,protocol …"""

import json
import os
import sys

from sekisho.agent.probe import find_own_node, probe_canaries
from sekisho.attest.isolation import ExpectedCanary

canaries = []
for number, word in enumerate(sys.argv[1:]):
    host, port, protocol = word.split(",")
    canaries.append(ExpectedCanary(f"c{number}", host, int(port), (protocol,)))  # type: ignore[arg-type]
results = probe_canaries(canaries, own_node=find_own_node(os.environ.get("HOST_IP", "")))
print(json.dumps([[r.outcome, r.detail] for r in results]))
