import os
import sys
from importlib import import_module

import pytest
from evergreen.edits import heed_edits


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A package of two modules, one of which uses the other, imported before processes are forked."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "part.py").write_text("NUMBER = 1\n")
    (folder / "user.py").write_text("from toy.part import NUMBER\nTWICE = 2 * NUMBER\n")
    heed_edits("toy")
    import_module("toy.user")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]


def told_by_a_fork():
    """What a forked process finds in `toy.user`, and whether it had to import it."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        was_there = "toy.user" in sys.modules
        os.write(writing, f"{import_module('toy.user').TWICE} {was_there}".encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as told:
        return told.read()


def test_what_was_not_edited_is_not_imported_again(toy):
    assert told_by_a_fork() == "2 True"


def test_an_edit_of_one_module_counts_for_all_that_use_it(toy):
    (toy / "part.py").write_text("NUMBER = 21\n")

    assert told_by_a_fork() == "42 False"


def test_a_module_that_is_gone_counts_as_edited(toy):
    (toy / "part.py").unlink()
    (toy / "user.py").write_text("TWICE = 'nothing'\n")

    assert told_by_a_fork() == "nothing False"
