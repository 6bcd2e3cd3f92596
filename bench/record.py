"""This file writes measurements down, each with its own date, machine and commit."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console


def write_down(file: Path, name: str, measured: dict[str, Any]) -> None:
    """Put one measurement into a file of results, with its own date, machine and commit."""
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"about": {}}
    results[name] = measured
    results["about"][name] = about()
    file.write_text(json.dumps(results, indent=2) + "\n")
    Console().print(name, measured)


def about() -> dict[str, Any]:
    """Return when, where and on what this was measured."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)  # noqa: S607
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} x {cpu.split(':')[1].strip()}, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }
