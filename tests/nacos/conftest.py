"""Lets the modules of this folder import each other, and the waiting of the registry's tests of Nacos."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "registry" / "tests" / "nacos")]
