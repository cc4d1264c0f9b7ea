"""`python -m e2e.demo up|down`: what `make demo` and `make demo-down` run."""

import argparse
import sys

from e2e.cluster.errors import ClusterError
from e2e.demo.story import tear_down, tell


def main() -> int:
    """Run the demo, or remove it."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    try:
        return tell() if parser.parse_args().command == "up" else tear_down()
    except ClusterError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
