"""`python -m e2e.cluster`: test clusters from the command line."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import state
from e2e.cluster.build import ensure_binaries
from e2e.cluster.choose import new_cluster
from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import cache_dir
from e2e.cluster.progress import Timed
from e2e.cluster.provider import NodeSpec, Options

DEFAULT_NAME = "sekisho"


def parse_labels(text: str) -> NodeSpec:
    """Parse `key=value,key=value` into a node."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    return NodeSpec(labels={key: value for key, _, value in pairs})


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description="Real Kubernetes clusters for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the cluster's programs into the cache")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--name", default=DEFAULT_NAME, help="default: %(default)s")
    shared.add_argument("--provider", choices=("kind", "local"), help="default: kind where Docker answers, else local")
    up = commands.add_parser("up", parents=[shared], help="start a cluster that stays until `down`")
    up.add_argument("--nodes", type=int, default=2, help="how many real nodes; default: %(default)s")
    up.add_argument(
        "--labels", action="append", default=[], type=parse_labels, metavar="KEY=VALUE,...", help="of n1, then n2, ..."
    )
    up.add_argument("--control-plane-only", action="store_true", help="an API without nodes")
    up.add_argument("--kwok", action="store_true", help="be ready for simulated nodes")
    up.add_argument("--audit", choices=("writes", "all", "off"), default="writes")
    up.add_argument("--port", type=int, help="port of 127.0.0.1 for the API")
    commands.add_parser("down", parents=[shared], help="remove a cluster")
    commands.add_parser("status", help="list the clusters of this machine")
    for tool in ("kubectl", "helm"):
        passing = commands.add_parser(tool, parents=[shared], help=f"run {tool} as administrator", add_help=False)
        passing.add_argument("arguments", nargs=argparse.REMAINDER)
    images = commands.add_parser("images", parents=[shared], help="put OCI archives on every node")
    images.add_argument("archives", nargs="+", type=Path)
    return parser.parse_args(arguments)


def options_of(asked: argparse.Namespace) -> Options:
    """Return the options that the arguments of `up` describe; other commands have defaults."""
    if asked.command != "up":
        return Options(name=asked.name)
    specs = [*asked.labels, *[NodeSpec()] * max(0, asked.nodes - len(asked.labels))]
    return Options(
        name=asked.name,
        nodes=tuple(specs),
        control_plane_only=asked.control_plane_only,
        kwok=asked.kwok,
        audit_level=asked.audit,
        api_port=asked.port,
        keep=True,
    )


def show_status() -> None:
    records = state.records()
    if not records:
        print("no cluster of the local provider")
    for record in records:
        nodes = ", ".join(name for name, _ in record.nodes) or "control plane only"
        print(
            f"{record.name}: {nodes}; https://127.0.0.1:{record.api_port}; {record.directory}/kubeconfig"
            f"{note_on(record)}"
        )
    for namespace in state.unrecorded():
        print(
            f"{namespace.name}: a network namespace of no cluster in {cache_dir()}. If no other SEKISHO_CACHE has it: "
            f"`ip netns pids {namespace.name} | xargs -r kill -9; ip netns del {namespace.name}`"
        )


def note_on(record: state.Record) -> str:
    """Return what is not as it should be about a cluster that is written down."""
    if record.is_orphan():
        return " (left by a crash; the next `up` or `down` removes it)"
    if not record.has_networks():
        return " (not running: gone with the last start of the machine; `up` replaces it, `down` removes it)"
    return "" if record.owner is None else f" (in the hands of process {record.owner.pid})"


def run_command(asked: argparse.Namespace) -> None:
    report = Timed()
    if asked.command == "build":
        ensure_binaries(report)
        return
    if asked.command == "status":
        show_status()
        return
    cluster = new_cluster(options_of(asked), provider=asked.provider, report=report)
    match asked.command:
        case "up":
            cluster.start()
            print(f"cluster {cluster.name} is up; export KUBECONFIG={cluster.kubeconfig}")
        case "down":
            cluster.stop()
            report(f"cluster {cluster.name} is gone")
        case "images":
            for archive in asked.archives:
                print(cluster.load_image(archive))
        case tool:
            command = cluster.tool_command(tool, *asked.arguments)
            os.execvp(command[0], command)  # noqa: S606 -- the tool takes over terminal and exit status


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        run_command(parse_arguments(arguments))
    except (ClusterError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; `python -m e2e.cluster status` shows what is left", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
