"""Build sekisho's images into the cache: ``python inference-images/build.py [--json] NAME...``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from imagebuild.main import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
