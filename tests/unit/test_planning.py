"""What `evergreen plan` shows: words for each aspect on each platform, what that costs, and what is looked at."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from include import planning
from include.cli import app
from include.config import load_pipeline
from include.errors import ConfigError
from include.finding import looked_at, ok
from include.jobs import Wanted
from include.ledger import jobs, open_ledger
from include.places import shown
from include.planning import ASPECTS, Money, Offer, budget_finding, budget_said, cells_of, plan_of, price_finding
from include.platforms import PLATFORMS
from include.platforms.base import Order, Outline
from include.settings import ROOT, load_settings
from include.stages import stages_of

OUTLINE = Outline("an operator", "a machine", "an image", "a wall", "a role", "a bucket", "spot machines", "stopped")
TODAY = date(2026, 11, 26)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.setattr("include.planning.PATIENCE", 60.0)  # a busy machine is no ledger that is away


def asked(**changes) -> Wanted:
    about = {"pipeline": "rides", "request_id": "r", "platform": "aws", "accelerator": "cpu", "price_per_hour": 0.5}
    return Wanted(**{**about, "max_seconds": 7200.0, "is_spot_welcome": True, **changes})


def offer(*, is_spot: bool = True, priced_on: date | None = TODAY, **changes) -> Offer:
    order = Order("r", None, datetime(2026, 1, 1, tzinfo=UTC), is_spot)
    return Offer(None, asked(**changes), order, OUTLINE, priced_on)


@pytest.mark.parametrize(
    ("changes", "past", "cost"),
    [
        ({}, [], "1.00 at most: 2 h (`compute.max_hours`; none has run yet) at 0.5 an hour, a price of 2026-11-26"),
        ({}, [600, 1800, 60], "about 0.25: 30 min (the longest of the newest 3) at 0.5 an hour, a price of 2026-11-26"),
        ({}, [9000], "about 1.00: 2 h (the longest of the newest 1) at 0.5 an hour, a price of 2026-11-26"),
        ({"priced_on": None}, [90], "about 0.01: 90 s (the longest of the newest 1) at 0.5 an hour"),
        ({"price_per_hour": 0.0}, [90], "none is counted: `price_per_hour` of 'cpu' is nought"),
    ],
)
def test_a_cost_says_what_it_rests_on_and_how_old_the_price_is(changes, past, cost):
    assert cells_of(offer(**changes), Money(0.0, {"aws": past}))["cost"] == cost


def test_without_a_ledger_there_are_still_words():
    assert "the ledger does not answer" in cells_of(offer(), None)["cost"]
    assert "the ledger does not answer" in budget_said(5, None)


@pytest.mark.parametrize(
    ("is_spot", "said"), [(True, "spot machines; on demand after 2 interruptions"), (False, "spot machines")]
)
def test_interruptions_end_at_a_machine_that_nobody_takes_away(is_spot, said):
    assert cells_of(offer(is_spot=is_spot), None)["interruption"] == said


@pytest.mark.parametrize(
    ("budget", "spent", "said"),
    [
        (None, 3.456, "Budget: no limit (`compute.budget_per_month`), 3.46 spent or promised in 30 days."),
        (10.0, 3.4, "Budget: 10 in 30 days; 3.40 spent or promised in 30 days, 6.60 left."),
        (1.0, 3.4, "Budget: 1 in 30 days; 3.40 spent or promised in 30 days, 0.00 left."),
    ],
)
def test_a_budget_says_what_is_left(budget, spent, said):
    assert budget_said(budget, Money(spent, {})) == said


@pytest.mark.parametrize(("days", "verdict"), [(0, "ok"), (90, "ok"), (91, "unsure")])
def test_an_old_price_is_to_be_looked_up_again(days, verdict):
    found = price_finding(asked(), TODAY - timedelta(days=days), TODAY)

    assert found.verdict == verdict
    assert ("config/accelerators.yaml" in found.remedy) == (verdict == "unsure")


@pytest.mark.parametrize(("budget", "verdict"), [(None, "ok"), (2.0, "ok"), (1.5, "problem")])
def test_a_training_that_would_not_be_started_is_a_problem(budget, verdict):
    found = budget_finding(asked(budget_per_month=budget), Money(1.0, {"aws": []}))

    assert found.verdict == verdict
    assert ("Raise the budget" in str(found)) == (verdict == "problem")


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize("pipeline", ["flight_delays", "bike_demand"])
def test_every_platform_describes_every_aspect(pipeline, name, settings):
    (column,), _ = plan_of(load_pipeline(pipeline, ROOT / "config" / "pipelines"), [name])

    assert column.problem == ""
    assert set(column.cells) == set(ASPECTS)
    assert all(column.cells.values()), column.cells


def test_what_has_run_is_what_the_next_one_is_expected_to_cost(settings, rides):
    there = rides.model_copy(update={"platform": "aws"})
    with open_ledger() as session:
        jobs.next_attempt(session, planning.offer_of(there, "aws").asked)
    with open_ledger() as session:
        jobs.end(session, jobs.open_attempts(session)[0].name, "succeeded", reason="", seconds=1800)

    (column,), budget = plan_of(there, ["aws"])

    assert column.cells["cost"].startswith("about 0.07: 30 min (the longest of the newest 1) at 0.138 an hour")
    assert "0.07 spent or promised" in budget


def test_the_pipelines_own_platform_comes_first_and_unknown_ones_are_named(rides):
    assert planning.platforms_of(rides.model_copy(update={"platform": "aws"}))[:2] == ["aws", "local"]
    assert planning.platforms_of(rides, ["aws", "aws"]) == ["aws"]
    with pytest.raises(ConfigError, match="no platform 'aws2'.*Did you mean 'aws'"):
        planning.platforms_of(rides, ["aws2"])


@pytest.mark.parametrize("text", [None, "region: eu-central-1", "[unclosed"])
def test_a_platform_that_is_not_set_up_is_a_column_with_its_remedy(settings, rides, monkeypatch, tmp_path, text):
    monkeypatch.setenv("EVERGREEN_PLATFORMS", str(tmp_path))
    if text is not None:
        (tmp_path / "aws.yaml").write_text(text)

    (local, aws), _ = plan_of(rides, ["local", "aws"])

    assert set(local.cells) == set(ASPECTS)
    assert not aws.cells
    assert "See docs/platforms.md" in aws.problem
    assert [finding.verdict for finding in planning.check(rides, "aws", TODAY)] == ["problem"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (ROOT / "data" / "lake", "data/lake"),
        (f"sqlite:///{ROOT}/data/ledger.db", "sqlite:///data/ledger.db"),
        ("postgresql+psycopg://user:hunter2@db:5432/ledger?sslmode=require", "postgresql+psycopg://db:5432/ledger"),
        ("sc://127.0.0.1:15002/;token=hunter2", "sc://127.0.0.1:15002"),
        ("https://user:hunter2@mlflow.example.com", "https://mlflow.example.com"),
    ],
)
def test_places_are_shown_without_what_is_secret(place, said):
    assert shown(place) == said


def test_no_secret_of_the_settings_is_shown(rides, monkeypatch):
    monkeypatch.setenv("SPARK_REMOTE", "sc://spark:15002/;token=hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:hunter2@mlflow.example.com")
    monkeypatch.setenv("EVERGREEN_CATALOG_URL", "postgresql+psycopg://user:hunter2@db/catalog")

    told = str(stages_of(rides, load_settings()))

    assert "hunter2" not in told
    assert "sc://spark:15002" in told


def test_what_hangs_is_left_alone_and_what_raises_is_a_problem():
    hanging = looked_at("a thing", lambda: str(threading.Event().wait()), "Do this.", seconds=0.05)
    assert (hanging.verdict, str(hanging)) == ("problem", "no answer within 0.05 s. Do this.")
    assert looked_at("a thing", lambda: "there", "Do this.") == ok("a thing", "there")


def test_a_ledger_that_does_not_answer_is_no_traceback(rides, monkeypatch):
    def refuse():
        raise OperationalError("select", {}, Exception("connection refused"))

    monkeypatch.setattr("include.planning.open_ledger", refuse)

    assert planning.money_of("rides", []) is None


def test_a_check_without_a_problem_ends_well_and_one_with_it_does_not(settings, monkeypatch):
    monkeypatch.setattr("include.installation.check_installation", lambda _settings: [ok("Python", "3.11")])
    monkeypatch.setattr("include.commands.console.width", 120)

    monkeypatch.setattr("include.platforms.local_plan.FEWEST_GB", 0.0)
    good = CliRunner().invoke(app, ["plan", "rides", "--check"], catch_exceptions=False)
    monkeypatch.setattr("include.platforms.local_plan.FEWEST_GB", 1e9)
    bad = CliRunner().invoke(app, ["plan", "rides", "--check"], catch_exceptions=False)

    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "✘ local       models' folder" in bad.output
    assert "✘" not in good.output


def test_the_readme_shows_what_the_command_shows(monkeypatch, tmp_path):
    for variable in ("EVERGREEN_DATA", "EVERGREEN_CATALOG_URL", "MLFLOW_TRACKING_URI", "SPARK_REMOTE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("EVERGREEN_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setattr("include.commands.console.width", 120)

    told = CliRunner().invoke(app, ["plan", "flight_delays"], catch_exceptions=False).output

    wanted = "\n".join(line.rstrip() for line in told.splitlines())
    assert wanted in (ROOT / "README.md").read_text(), f"README.md: replace what is old by\n{wanted}"
