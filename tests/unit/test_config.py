"""A pipeline's YAML: what it may say, and how a mistake is answered."""

from pathlib import Path

import pytest
import yaml

from include.config import broken_pipelines, load_pipeline, load_pipelines, pipeline_schema
from include.errors import ConfigError
from include.settings import ROOT, load_settings

SHIPPED = (ROOT / "config" / "pipelines" / "flight_delays.yaml").read_text()


def write(folder: Path, change) -> Path:
    content = yaml.safe_load(SHIPPED)
    change(content)
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_the_shipped_pipelines_load():
    assert [pipeline.name for pipeline in load_pipelines()] == ["bike_demand", "flight_delays"]


def test_a_date_that_cannot_be_is_the_mistake_of_one_yaml(tmp_path):
    (tmp_path / "good.yaml").write_text(SHIPPED)
    (tmp_path / "mine.yaml").write_text(SHIPPED.replace("start: 2013-07", "start: 2013-13"))

    with pytest.raises(ConfigError, match=r"mine\.yaml: not readable as YAML: line \d+, column \d+: '2013-13"):
        load_pipeline("mine", tmp_path)
    assert [pipeline.name for pipeline in load_pipelines(tmp_path)] == ["good"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.update(colour="green"), "mine.yaml: 'colour': Extra inputs are not permitted (got 'green')"),
        (
            lambda it: it["gate"].update(metric="f1"),
            "mine.yaml: 'gate.metric': Input should be 'auc', 'log_loss', 'brier', 'accuracy', 'macro_f1', 'cost', "
            "'rmse', 'mae' or 'r2' (got 'f1')",
        ),
        (
            lambda it: it["training"].update(epochs="five"),
            "mine.yaml: 'training.epochs': Input should be a valid integer (got 'five')",
        ),
        (lambda it: it.pop("owner"), "mine.yaml: 'owner': Field required"),
        (
            lambda it: it["schedule"].update(cron="0 25 * * *"),
            "mine.yaml: 'schedule.cron': '0 25 * * *' is no cron expression; expected are minute, hour,",
        ),
        (lambda it: it["schedule"].update(cron="0 0 5 * * *"), "'0 0 5 * * *' is no cron expression"),
        (lambda it: it.update(key="id"), "'key' names 'id', which 'cleaning.columns' does not have"),
        (lambda it: it.update(date="flight_day"), "'date' names 'flight_day', which 'cleaning.columns' does not have"),
        (lambda it: it.update(date="departure_hour"), "'date' names 'departure_hour', which is timestamp"),
        (
            lambda it: (
                it["cleaning"]["derive"].update(label="1") or it["training"]["features"]["numeric"].append("label")
            ),
            "uses ['label'], which files of predictions keep for themselves",
        ),
        (lambda it: it["training"].update(target="delay"), "'training' uses ['delay'], not columns of the clean table"),
        (lambda it: it["source"]["events"].update(path="events.csv"), "'events.csv' has no '{date}' in it"),
        (lambda it: it["governor"].update(alarming=9), "'alarming' is 9, more than the 5 'windows' looked at"),
        (lambda it: it["source"]["references"].pop("planes"), "'cleaning.joins' uses ['planes']"),
        (lambda it: it["cleaning"]["labels"].pop("flight_id"), "'cleaning.labels' lacks the key 'flight_id'"),
        (lambda it: it.update(name="other"), "the file's name is the pipeline's name"),
        (
            lambda it: it.update(governer={}),
            "'governer': Extra inputs are not permitted (got {}). Did you mean 'governor'?",
        ),
        (lambda it: it["training"].update(epoch=5), "Did you mean 'epochs'?"),
        (
            lambda it: it["training"]["features"].update(image={"photo": {"hieght": 16, "width": 16}}),
            "'training.features.image.photo.hieght': Extra inputs are not permitted (got 16). Did you mean 'height'? "
            "Known there: height, width, channels.",
        ),
        (
            lambda it: it["training"]["features"]["numeric"].append("distnce"),
            "'wind_speed']. Did you mean 'distance'?",
        ),
        (lambda it: it["cleaning"]["joins"][0].update(takes={}), "Did you mean 'take'?"),
        (lambda it: it["cleaning"]["columns"].update(distance="doubel"), "Did you mean 'double'?"),
        (
            lambda it: it["source"].update(events={"pth": "e/{date}.csv"}),
            "'source.events': Expected one of 'path' (files), 'connection' (a database), 'url' (a web service) "
            "(got {'pth': 'e/{date}.csv'}). Did you mean 'path'?",
        ),
        (
            lambda it: it["source"]["labels"].update(delay_day=2),
            "'source.labels.delay_day': Extra inputs are not permitted (got 2). Did you mean 'delay_days'?",
        ),
        (lambda it: it["source"]["events"].update(path="e/{date}.txt"), "ends in none of .csv, .jsonl, .parquet"),
        (
            lambda it: it["rollout"].update(shadow=False),
            "(got False). YAML reads yes, no, on and off as true and false: write none.",
        ),
        (
            lambda it: it["training"]["features"]["categorical"].append(False),
            "YAML reads yes, no, on and off as true and false: quote the word.",
        ),
        (lambda it: it["source"]["events"].update(format="cvs"), "Did you mean 'csv'?"),
        (
            lambda it: it["source"].update(events={"connection": "shop", "table": "rides"}),
            "'source.events': 'table' needs 'date_column'",
        ),
        (
            lambda it: it["source"].update(events={"connection": "shop", "query": "select 1"}),
            "'query' has no ':day' in it",
        ),
        (lambda it: it["source"].update(events={"url": "https://a/b"}), "'https://a/b' has no '{date}' in it"),
        (lambda it: it["source"].pop("labels"), "'source.labels' and 'cleaning.labels' go together"),
        (lambda it: it["source"]["labels"].update(key="id"), "'cleaning.labels' lacks the key 'id'"),
        (
            lambda it: it["cleaning"]["labels"].update(flight_id="bigint"),
            "is bigint, but the key 'flight_id' is string",
        ),
        (lambda it: it["cleaning"].update(optional=["gate"]), "'cleaning.optional' names ['gate']"),
        (lambda it: it["cleaning"].update(optional=["flight_id"]), "without which no row can be placed"),
    ],
)
def test_a_mistake_names_file_key_and_what_was_found(tmp_path, change, said):
    with pytest.raises(ConfigError) as caught:
        load_pipeline("mine", write(tmp_path, change))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda it: it["training"].update(task="regression"),
            "'gate.metric' is 'auc', which does not fit 'training.task: regression'; allowed: r2, rmse, mae",
        ),
        (
            lambda it: it["training"].update(task="clustering"),
            "'training.task': Input should be 'binary', 'multiclass' or 'regression' (got 'clustering')",
        ),
        (
            lambda it: it["governor"].update(metric="macro_f1"),
            "'governor.metric' is 'macro_f1', which does not fit 'training.task: binary'; "
            "allowed: auc, log_loss, brier, accuracy",
        ),
        (
            lambda it: (it["training"].update(task="regression"), it.pop("gate"), it.update(governor={})),
            "'governor.max_quality_drop' is missing: 'rmse' is measured in a unit of your own",
        ),
        (lambda it: it["gate"].update(metric="cost"), "'gate.metric' is 'cost', but 'gate.costs' is missing"),
        (
            lambda it: it["gate"].update(costs={"a": {"b": 2.0}}),
            "'gate.costs' does not fit 'training.task: binary'",
        ),
        (lambda it: it["gate"].update(slices=["carier"]), "'gate.slices' uses ['carier'], not columns of the clean"),
    ],
)
def test_metrics_costs_and_slices_must_fit_the_task(tmp_path, change, said):
    with pytest.raises(ConfigError) as caught:
        load_pipeline("mine", write(tmp_path, change))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("task", "gate", "governor"),
    [("binary", "auc", "log_loss"), ("multiclass", "log_loss", "log_loss"), ("regression", "r2", "rmse")],
)
def test_what_the_yaml_leaves_out_follows_from_the_task(tmp_path, task, gate, governor):
    def change(it):
        it["training"].update(task=task)
        it["gate"], it["governor"] = {}, {"max_quality_drop": 2.0}

    pipeline = load_pipeline("mine", write(tmp_path, change))

    assert (pipeline.gate.metric, pipeline.governor.metric) == (gate, governor)


def test_text_that_is_not_yaml_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("owner: [")

    with pytest.raises(ConfigError, match=r"mine\.yaml: not readable as YAML"):
        load_pipeline("mine", tmp_path)


def test_a_yaml_that_cannot_be_read_takes_no_other_pipeline_down(tmp_path):
    write(tmp_path, lambda _: None)
    (tmp_path / "typo.yaml").write_text("owner: [")

    assert [pipeline.name for pipeline in load_pipelines(tmp_path)] == ["mine"]
    assert list(broken_pipelines(tmp_path)) == ["typo"]
    assert "typo.yaml: not readable as YAML" in broken_pipelines(tmp_path)["typo"]


def test_an_unknown_pipeline_is_answered_with_the_known_ones():
    with pytest.raises(
        ConfigError,
        match=r"No pipeline 'flight_delay'.*Pipelines there: bike_demand, flight_delays\. Did you mean 'flight_delays'",
    ):
        load_pipeline("flight_delay")


def test_a_pipeline_cannot_be_changed():
    pipeline = load_pipeline("flight_delays")

    with pytest.raises(ValueError, match="frozen"):
        pipeline.owner = "somebody else"


def test_an_edited_yaml_is_read_again(tmp_path):
    write(tmp_path, lambda it: it.update(owner="one"))
    first = load_pipeline("mine", tmp_path)
    write(tmp_path, lambda it: it.update(owner="another"))

    assert (first.owner, load_pipeline("mine", tmp_path).owner) == ("one", "another")


def test_the_schema_for_editors_is_the_one_in_the_repository():
    import json

    assert json.loads((ROOT / "config" / "pipeline.schema.json").read_text()) == pipeline_schema()
    assert "name" not in pipeline_schema()["properties"]


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    monkeypatch.setenv("EVERGREEN_LEDGER_URL", "postgresql://ledger")

    settings = load_settings()

    assert settings.lake == tmp_path / "lake"
    assert settings.ledger_url == "postgresql://ledger"


def test_labels_may_be_named_by_a_column_of_their_own_or_be_missing(tmp_path):
    def by_another_name(it):
        it["source"]["labels"]["key"] = "flight"
        it["cleaning"]["labels"] = {"flight": "string", "arr_delay": "double"}

    def without(it):
        del it["source"]["labels"], it["cleaning"]["labels"]
        it["cleaning"]["columns"]["arr_delay"] = "double"

    write(tmp_path, by_another_name)
    assert (load_pipeline("mine", tmp_path).label_key, load_pipeline("mine", tmp_path).outcomes) == (
        "flight", {"arr_delay": "double"}
    )  # fmt: skip
    write(tmp_path, without)
    assert load_pipeline("mine", tmp_path).outcomes == {}


def test_a_clean_table_shorter_than_a_training_needs_is_refused(tmp_path, rides_yaml):
    (tmp_path / "rides.yaml").write_text(rides_yaml + "retention: {clean_days: 20}\n")

    with pytest.raises(ConfigError, match=r"'retention.clean_days' is 20, but a training needs 57"):
        load_pipeline("rides", tmp_path)


def test_a_clean_table_also_holds_the_days_that_wait_for_late_labels(tmp_path, rides_yaml):
    late = rides_yaml.replace('labels: {path: "l/{date}.csv"}', 'labels: {path: "l/{date}.csv", delay_days: 14}')
    (tmp_path / "rides.yaml").write_text(late + "retention: {clean_days: 60}\n")

    with pytest.raises(ConfigError, match=r"'retention.clean_days' is 60, but a training needs 71: .*delay_days"):
        load_pipeline("rides", tmp_path)


def test_a_date_that_resembles_no_column_is_the_deliverys_own_day(tmp_path):
    pipeline = load_pipeline("mine", write(tmp_path, lambda it: it.update(date="today")))

    assert "today" in pipeline.clean_columns
    assert "today" not in pipeline.cleaning.columns
