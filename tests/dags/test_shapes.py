"""Each DAG's tasks and edges, written down: a change of shape is a change somebody meant."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

SHAPES = {
    "flight_delays__ingest": {
        "land": {"clean"},
        "clean": {"validate", "publish"},
        "validate": {"publish", "refuse"},
        "publish": {"refuse"},
        "refuse": set(),
    },
    "flight_delays__monitor": {
        "find_publication": {"collect", "decide"},
        "collect": {"measure"},
        "measure": {"decide"},
        "decide": set(),
    },
    "flight_delays__train": {
        "claim_request": {"train", "evaluate", "give_up"},
        "train": {"evaluate", "give_up"},
        "evaluate": {"register", "give_up"},
        "register": {"give_up"},
        "give_up": set(),
    },
    "flight_delays__deploy": {"verify": {"promote"}, "promote": set()},
    "flight_delays__rollback": {"choose_version": {"roll_back"}, "roll_back": set()},
    "sweep": {
        "wake_monitor": set(),
        "wake_train": set(),
        "wake_deploy": set(),
        "reconcile": set(),
        "expire": set(),
        "tell": set(),
    },
}
ANNOUNCES = {
    ("flight_delays__ingest", "publish"): {"flight_delays.features"},
    ("flight_delays__monitor", "decide"): {"flight_delays.retrain"},
    ("flight_delays__train", "register"): {"flight_delays.model"},
    ("flight_delays__deploy", "promote"): {"flight_delays.endpoint"},
    ("flight_delays__rollback", "roll_back"): {"flight_delays.endpoint"},
    ("sweep", "wake_monitor"): {"flight_delays.features"},
    ("sweep", "wake_train"): {"flight_delays.retrain"},
    ("sweep", "wake_deploy"): {"flight_delays.model"},
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
