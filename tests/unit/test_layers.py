"""Imports point one way, dags → plugins/evergreen → include, and include runs without Airflow."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT_AIRFLOW = {"assets.py"}


def imported_by(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: import by full name, not relatively"
            names.add(str(node.module).split(".")[0])
    return names


def files_in(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no files in {folder}: this test would prove nothing"
    return found


@pytest.mark.parametrize("file", files_in("include"), ids=lambda file: str(file.relative_to(ROOT)))
def test_include_imports_neither_dags_nor_plugins_nor_airflow(file):
    names = imported_by(file)

    assert "dags" not in names
    if file.name not in MAY_IMPORT_AIRFLOW:
        assert not names & {"airflow", "evergreen"}, f"{file.name} would not run without Airflow"


@pytest.mark.parametrize("file", files_in("plugins"), ids=lambda file: str(file.relative_to(ROOT)))
def test_plugins_do_not_import_dags(file):
    assert "dags" not in imported_by(file)


@pytest.mark.parametrize("file", files_in("dags"), ids=lambda file: file.name)
def test_dag_files_do_not_import_each_other(file):
    assert not imported_by(file) & {other.stem for other in files_in("dags")}


def test_settings_come_from_one_place():
    reads = re.compile(r"getenv|environ\.get|environ\.items|environ\[[^\]]+\](?!\s*=[^=])")
    readers = {str(file.relative_to(ROOT)) for file in files_in("include") if reads.search(file.read_text())}

    # The stack makes the environment of the services it starts, out of its own; a training runs where a platform's own
    # variables say what to do.
    assert readers == {"include/stack_environment.py", "include/training/environment.py"}
    assert "env = os.environ" in (ROOT / "include" / "settings.py").read_text(), "the pattern above must still be right"
