"""Lets the modules of this folder import each other, and those by which a page of the manual is followed."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "docs")]
