"""This file lets an edit of a module count in processes that are forked from one that has imported it before."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def heed_edits(*packages: str) -> None:
    """Have every process that is forked from here import these packages anew if a file of theirs was edited since.

    To be called before they are imported: what is edited meanwhile counts as edited, too.
    """
    before = {file: _stamp(file) for package in packages for file in _files_of(package)}

    def forget_what_is_old() -> None:
        if any(_stamp(file) != stamp for file, stamp in before.items()):
            for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
                del sys.modules[name]  # all of it: what was not edited may hold what was

    os.register_at_fork(after_in_child=forget_what_is_old)


def _files_of(package: str) -> list[Path]:
    found = find_spec(package)
    return [
        file for folder in (found and found.submodule_search_locations) or () for file in Path(folder).rglob("*.py")
    ]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
