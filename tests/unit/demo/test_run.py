import pytest
from rich.console import Console

from include.demo import run
from include.errors import StackError
from include.stack import Stack


@pytest.fixture(autouse=True)
def _can_start(monkeypatch):
    monkeypatch.setattr(Stack, "is_up", lambda _self: False)
    monkeypatch.setattr(Stack, "check", lambda _self: None)


@pytest.fixture
def console():
    return Console(record=True, width=400)


def test_a_first_demo_has_nothing_to_move(settings, console):
    assert run._make_room(settings.data, console) is None


def test_what_earlier_demos_left_is_moved_and_the_way_back_is_said(settings, console):
    (settings.data / "landing" / "flight_delays").mkdir(parents=True)
    (settings.data / "ledger.db").write_text("rows")

    aside = run._make_room(settings.data, console)
    run._say_how_to_go_back(settings.data, aside, console)

    assert [path.name for path in settings.data.iterdir()] == [aside.name]
    assert (aside / "ledger.db").read_text() == "rows"
    away = settings.data.with_name("data-demo")
    assert f"mv {settings.data} {away} && mv {away / aside.name} {settings.data}" in console.export_text()


def test_the_data_of_another_pipeline_are_not_moved(settings, console):
    (settings.data / "landing" / "churn").mkdir(parents=True)

    with pytest.raises(StackError, match="holds deliveries of churn"):
        run._make_room(settings.data, console)

    assert (settings.data / "landing" / "churn").is_dir()


def test_the_demo_is_not_told_in_somebodys_lake(settings, console, monkeypatch):
    monkeypatch.setenv("EVERGREEN_LAKE", "s3://bucket/evergreen")

    with pytest.raises(StackError, match="EVERGREEN_LAKE is s3://bucket/evergreen: unset it for the demo"):
        run._make_room(settings.data, console)


def test_nothing_is_moved_when_the_services_cannot_start(settings, console, monkeypatch):
    def refuse(_self):
        raise StackError("Taken by another program: port 8080")

    monkeypatch.setattr(Stack, "check", refuse)
    (settings.data / "landing").mkdir(parents=True)

    with pytest.raises(StackError, match="8080"):
        run._make_room(settings.data, console)

    assert (settings.data / "landing").is_dir()
