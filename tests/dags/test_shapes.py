"""Each DAG's tasks and edges, written down: a change of shape is a change somebody meant."""

import ast
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = ("bike_demand", "flight_delays")
STAGES = {
    "ingest": {
        "land": {"clean"},
        "clean": {"validate", "publish"},
        "validate": {"publish", "refuse"},
        "publish": {"refuse"},
        "refuse": set(),
    },
    "monitor": {
        "find_publication": {"collect", "decide"},
        "collect": {"measure"},
        "measure": {"decide"},
        "decide": set(),
    },
    "train": {
        "claim_request": {"train", "evaluate", "give_up"},
        "train": {"evaluate", "give_up"},
        "evaluate": {"register", "give_up"},
        "register": {"give_up"},
        "give_up": set(),
    },
    "deploy": {"verify": {"try_out", "promote"}, "try_out": {"promote"}, "promote": set()},
    "rollback": {"choose_version": {"roll_back"}, "roll_back": set()},
    "score": {"score": set()},
}
SEARCH = {
    "claim_request": {"plan_trials", "run_trial", "choose_settings", "give_up"},
    "plan_trials": {"run_trial", "choose_settings"},
    "run_trial": {"choose_settings"},
    "choose_settings": {"train", "evaluate"},
}
SHAPES = {f"{name}__{stage}": shape for name in PIPELINES for stage, shape in STAGES.items()} | {
    "bike_demand__train": STAGES["train"] | SEARCH,
    "sweep": {
        "wake_monitor": set(),
        "wake_train": set(),
        "wake_deploy": set(),
        "reconcile": set(),
        "expire": set(),
        "stop_overdue_jobs": set(),
        "tell": set(),
    },
}
ANNOUNCES = {
    (f"{name}__{stage}", task): {f"{name}.{asset}"}
    for name in PIPELINES
    for stage, task, asset in (
        ("ingest", "publish", "features"),
        ("monitor", "decide", "retrain"),
        ("train", "register", "model"),
        ("deploy", "promote", "endpoint"),
        ("rollback", "roll_back", "endpoint"),
    )
} | {
    ("sweep", task): {f"{name}.{asset}" for name in PIPELINES}
    for task, asset in (("wake_monitor", "features"), ("wake_train", "retrain"), ("wake_deploy", "model"))
}


def test_these_are_all_the_dags(dagbag):
    assert set(dagbag.dags) == set(SHAPES)


@pytest.mark.parametrize("dag_id", SHAPES)
def test_tasks_and_edges(dagbag, dag_id):
    found = {task.task_id: set(task.downstream_task_ids) for task in dagbag.dags[dag_id].tasks}

    assert found == SHAPES[dag_id]


def test_who_announces_what(dagbag):
    found = {
        (dag_id, task.task_id): {asset.name for asset in task.outlets}
        for dag_id, dag in dagbag.dags.items()
        for task in dag.tasks
        if task.outlets
    }

    assert found == ANNOUNCES


@pytest.mark.parametrize(
    ("dag_id", "asset"),
    [
        ("flight_delays__monitor", "flight_delays.features"),
        ("flight_delays__train", "flight_delays.retrain"),
        ("flight_delays__deploy", "flight_delays.model"),
    ],
)
def test_who_listens_to_what(dagbag, dag_id, asset):
    timetable = dagbag.dags[dag_id].timetable

    assert type(timetable).__name__ == "PartitionedAssetTimetable"
    assert asset in repr(timetable.asset_condition)


def test_a_training_that_failed_gives_its_request_up_and_fails_the_run(dagbag, monkeypatch):
    from include import retraining

    given_up = []
    monkeypatch.setattr(retraining, "give_up", given_up.append)
    give_up = dagbag.dags["flight_delays__train"].get_task("give_up")

    with pytest.raises(AirflowFailException, match=r"No model came of flight_delays\.first\.model"):
        give_up.python_callable("flight_delays.first.model")

    assert given_up == ["flight_delays.first.model"]
    assert give_up.trigger_rule == "one_failed"


def test_a_night_is_ingested_at_the_tick_after_it(dagbag):
    dag = dagbag.dags["flight_delays__ingest"]

    assert dag.catchup
    assert dag.start_date.isoformat() == "2013-07-09T00:00:00+00:00"
    assert dag.timetable.run_offset == -1


def test_a_pipeline_that_listens_and_asks_people_has_a_dag_and_two_tasks_more(parse_in_fresh_process, tmp_path):
    text = (ROOT / "config" / "pipelines" / "flight_delays.yaml").read_text()
    more = "events: {connection: retrain_queue, queue: retrain}\npeople: {review: [drift], approval: human}\n"
    for name in ("north", "south"):
        (tmp_path / f"{name}.yaml").write_text(f"{text}\n{more}")

    said = parse_in_fresh_process(
        "{dag_id: {task.task_id: (sorted(task.downstream_task_ids), sorted(asset.name for asset in task.outlets),"
        " bool(task.retries and task.execution_timeout and task.on_failure_callback)) for task in dag.tasks}"
        " for dag_id, dag in bag.dags.items() if 'listen' in dag_id or dag_id == 'north__train'}",
        tmp_path,
    )

    found = ast.literal_eval(said)
    outlets = ["north.retrain", "south.retrain"]
    assert found["listen__retrain_queue__retrain"] == {"take_messages": ([], outlets, True)}
    shape = {task_id: downstream for task_id, (downstream, _, _) in found["north__train"].items()}
    assert shape == {
        "claim_request": ["give_up", "review"],
        "review": ["evaluate", "train"],
        "train": ["evaluate", "give_up"],
        "evaluate": ["approve", "give_up"],
        "approve": ["register"],
        "register": ["give_up"],
        "give_up": [],
    }
    assert all(is_guarded for _, _, is_guarded in found["north__train"].values())
