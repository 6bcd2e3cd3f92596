"""This package holds the commands of `evergreen` that belong together; `include/cli.py` puts them in order."""

from rich.console import Console

console = Console()
