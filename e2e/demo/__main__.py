"""`python -m e2e.demo up|down`: what `make demo` and `make demo-down` run."""

import argparse
import sys

from e2e.cluster.errors import ClusterError
from e2e.demo.story import BusyError, is_there, tear_down, tell


def main() -> int:
    """Run the demo, or remove it."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    command = parser.parse_args().command
    try:
        return tell() if command == "up" else tear_down()
    except KeyboardInterrupt:
        left = "the cluster is still there: `make demo-down` removes it" if is_there() else "nothing of it is left"
        print(f"\ninterrupted; {left}", file=sys.stderr)
        return 130
    except (ClusterError, OSError) as error:  # what is waited for in vain is an OSError, too
        print(f"\nerror: {error}", file=sys.stderr)
        if is_there() and not isinstance(error, BusyError):
            print("  the cluster stays to be looked at; `make demo-down` removes it", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
