"""What every DAG must have, and what parsing must not do."""

import ast
import json
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["evergreen"]["heavy_modules"]


def test_every_dag_file_imports(dagbag):
    assert dagbag.import_errors == {}
    assert len(dagbag.dags) >= 6


def test_a_yaml_that_cannot_be_read_is_one_import_error_and_takes_no_other_pipeline_down(
    parse_in_fresh_process, tmp_path
):
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    (pipelines / "good.yaml").write_text((ROOT / "config" / "pipelines" / "flight_delays.yaml").read_text())
    (pipelines / "bad.yaml").write_text("owner: [")

    said = parse_in_fresh_process("(len(bag.dags), list(bag.import_errors.values()))", pipelines)

    dags, errors = ast.literal_eval(said)
    assert dags == 7
    assert len(errors) == 1
    assert "bad.yaml: not readable as YAML" in errors[0]


def test_every_dag_says_what_it_does_and_what_to_do_on_failure(dagbag):
    for dag_id, dag in dagbag.dags.items():
        assert dag.doc_md, f"{dag_id} has no doc_md: give its file a docstring"
        assert "**On failure" in dag.doc_md, f"{dag_id}'s docstring does not say what to do on failure"


def test_every_dag_has_an_owner_a_stage_tag_and_a_description(dagbag):
    for dag_id, dag in dagbag.dags.items():
        assert any(tag.startswith("stage:") for tag in dag.tags), f"{dag_id} has no tag 'stage:…'"
        assert dag.owner not in ("", "airflow"), f"{dag_id} has no owner: name one in the pipeline's YAML"
        assert dag.description, f"{dag_id} has no description"


def test_every_task_retries_with_backoff_has_a_time_out_and_an_alert(dagbag):
    for dag_id, dag in dagbag.dags.items():
        for task in dag.tasks:
            where = f"{dag_id}.{task.task_id}"
            assert task.retries, f"{where} never retries"
            assert task.retry_exponential_backoff, f"{where} retries without backoff"
            assert task.retry_policy, f"{where} would retry bad data"
            assert task.execution_timeout, f"{where} has no time-out"
            assert task.on_failure_callback, f"{where} tells nobody when it fails"


def test_every_param_is_explained_in_the_trigger_form(dagbag):
    for dag_id, dag in dagbag.dags.items():
        for name, param in dag.params.items():
            schema = dag.params.get_param(name).schema
            assert schema.get("type"), f"{dag_id}: param '{name}' has no type"
            assert dag.params.get_param(name).description, f"{dag_id}: param '{name}' has no help text ({param})"


def test_only_training_takes_a_slot_of_the_training_pool(dagbag):
    pooled = {task.task_id for dag in dagbag.dags.values() for task in dag.tasks if task.pool == "training"}

    assert pooled == {"train", "run_trial"}


def test_parsing_imports_nothing_heavy(parse_in_fresh_process):
    found = parse_in_fresh_process("sorted({name.split('.')[0] for name in set(sys.modules) - before})")

    assert not set(ast.literal_eval(found)) & set(HEAVY)


def test_twenty_pipelines_parse_in_a_second(parse_in_fresh_process, tmp_path):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    text = (ROOT / "config" / "pipelines" / "flight_delays.yaml").read_text()
    for number in range(20):
        (folder / f"pipeline_{number}.yaml").write_text(text)

    answer = parse_in_fresh_process("__import__('json').dumps([len(bag.dags), seconds])", pipelines=folder)

    dags, seconds = json.loads(answer)
    assert dags == 20 * 6 + 1
    # The promise is 1 s, which `make bench` measures; the slack is for a machine that does other things meanwhile.
    assert seconds < 3


@pytest.mark.parametrize("file", sorted((ROOT / "dags").glob("*.py")), ids=lambda file: file.name)
def test_task_bodies_are_at_most_a_few_statements(file):
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            ast.unparse(mark).startswith("task") for mark in node.decorator_list
        ):
            body = [line for line in node.body if not isinstance(line, ast.ImportFrom)]
            assert len(body) <= 3, f"{file.name}: {node.name} has {len(body)} statements: move its logic to include/"
