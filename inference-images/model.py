"""Make a model for a test or the demo: ``python inference-images/model.py NAME [OUT]``.

Without OUT the cached folder is printed; with it the files are copied there (OUT.gguf names a single file) and their
paths are printed, one a line.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from imagebuild.failure import ImageBuildError, told_failures
from models.shelf import MODEL_NAMES, make_model, place_model


def main(arguments: list[str]) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help=", ".join(MODEL_NAMES))
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?")
    options = parser.parse_args(arguments)
    try:
        with told_failures():
            found = place_model(options.name, options.out) if options.out else [make_model(options.name)]
    except ImageBuildError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    print("\n".join(str(path) for path in found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
