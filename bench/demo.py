"""This file runs the demo as a newcomer would, and keeps its summary."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from include.settings import ROOT


def measure() -> dict[str, Any]:
    """Return the demo's summary."""
    with tempfile.TemporaryDirectory(prefix="evergreen-demo-") as folder:
        environment = os.environ | {"EVERGREEN_DATA": folder}
        subprocess.run([sys.executable, "-m", "include.cli", "demo"], cwd=ROOT, env=environment, check=True)
        summary: dict[str, Any] = json.loads((Path(folder) / "demo" / "summary.json").read_text())
        return summary
