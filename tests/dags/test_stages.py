"""What `evergreen plan` says of the stages is what the DAGs are."""

import json

import pytest

from include.config import load_pipeline
from include.settings import load_settings
from include.stages import stages_of
from tests.dags.test_shapes import PIPELINES, STAGES

WITH_PEOPLE = """
people: {review: [quality], approval: human}
events: {connection: queue, queue: evergreen}
"""


def operators_of(dag):
    return {task.task_id: task.operator_name for task in dag.tasks}


@pytest.mark.parametrize("name", PIPELINES)
def test_each_stage_has_the_tasks_and_operators_of_its_dag(dagbag, name):
    stages = {stage.name: stage.tasks for stage in stages_of(load_pipeline(name), load_settings()) if stage.tasks}

    assert set(stages) == {*STAGES, "sweep"}
    for stage, tasks in stages.items():
        dag = dagbag.dags["sweep" if stage == "sweep" else f"{name}__{stage}"]
        assert tasks == operators_of(dag), f"include/stages.py is not what dags/{stage}.py is"


def test_so_have_questions_to_people_and_a_queue(rides_yaml, tmp_path, parse_in_fresh_process):
    (tmp_path / "rides.yaml").write_text(rides_yaml + WITH_PEOPLE)
    asked = "{name: {task.task_id: task.operator_name for task in dag.tasks} for name, dag in bag.dags.items()}"

    found = json.loads(parse_in_fresh_process(f"__import__('json').dumps({asked})", tmp_path))

    stages = {stage.name: stage.tasks for stage in stages_of(load_pipeline("rides", tmp_path), load_settings())}
    assert stages["train"] == found["rides__train"]
    assert stages["listen"] == found["listen__queue__evergreen"]
