"""This file lets an edit of a module count in processes that are forked from one that has imported it before."""

import os
import sys
from pathlib import Path


def heed_edits(*packages: str) -> None:
    """Have every process that is forked from here import these packages anew if a file of theirs was edited since."""
    known = {
        name: Path(module.__file__)
        for name, module in sys.modules.items()
        if name.partition(".")[0] in packages and module.__file__
    }
    before = [_stamp(file) for file in known.values()]

    def forget_what_is_old() -> None:
        if before != [_stamp(file) for file in known.values()]:
            for name in known:  # all of it: what was not edited may hold what was
                sys.modules.pop(name, None)

    os.register_at_fork(after_in_child=forget_what_is_old)


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
