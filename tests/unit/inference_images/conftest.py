"""The builder lies in a folder whose name is no package name; last in the path, so that it shadows nothing."""

import sys
from pathlib import Path

FOLDER = str(Path(__file__).parents[3] / "inference-images")
if FOLDER not in sys.path:
    sys.path.append(FOLDER)
