"""Scripts import what stands beside them, as they do when they are run."""

import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path += [str(SCRIPTS), str(SCRIPTS / "tables")]
