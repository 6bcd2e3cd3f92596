import pytest
from typer.testing import CliRunner

from include import cli
from include.errors import ConfigError
from include.settings import ROOT


def test_an_error_is_printed_as_it_is_also_where_it_looks_like_markup(monkeypatch, capsys):
    def fail():
        raise ConfigError("expected '^[a-z][/]{1,60}$', found 'A'")

    monkeypatch.setattr(cli, "app", fail)

    with pytest.raises(SystemExit):
        cli.main()

    assert capsys.readouterr().out == "✘ expected '^[a-z][/]{1,60}$', found 'A'\n"


def test_rollback_goes_to_the_champion_before_and_says_so(monkeypatch):
    asked = []
    monkeypatch.setattr("include.cli.pipeline_named", lambda name: name)
    monkeypatch.setattr("include.rollback.version_before", lambda name, to: asked.append((name, to)) or 3)
    monkeypatch.setattr("include.rollback.told", lambda name, to: f"{name} goes back to v{to}.")
    monkeypatch.setattr("include.rollback.roll_back", lambda *what: asked.append(what) or "rides.v3")

    told = CliRunner().invoke(cli.app, ["rollback", "rides", "--reason", "it answers rubbish"])

    assert told.output == "rides goes back to v3.\nDone: rides.v3 serves.\n"
    assert asked == [("rides", None), ("rides", "it answers rubbish", 3)]


def test_a_rollback_needs_a_reason_as_long_as_the_dag_asks_for():
    told = CliRunner().invoke(cli.app, ["rollback", "rides", "--reason", "x"])

    assert told.exit_code == 2
    assert f"{cli.SHORTEST_REASON} characters or more" in told.output
    assert f"minLength={cli.SHORTEST_REASON}," in (ROOT / "dags" / "rollback.py").read_text()


def test_where_there_is_nothing_to_go_back_to_it_is_a_sentence(monkeypatch, capsys, settings):
    monkeypatch.setattr("include.cli.pipeline_named", lambda name: name)
    monkeypatch.setattr("sys.argv", ["evergreen", "rollback", "rides", "--reason", "it answers rubbish"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 1
    assert "✘ Nothing to roll back to: wanted the one before, the champion is none" in capsys.readouterr().out


def test_a_broken_yaml_takes_nobody_the_way_back(monkeypatch, settings):
    (settings.pipelines / "rides.yaml").write_text("rollout: {stpes: [25]}")
    monkeypatch.setattr("include.rollback.version_before", lambda _name, _to: 3)
    monkeypatch.setattr("include.rollback.told", lambda _name, to: f"v{to} comes back.")
    monkeypatch.setattr("include.rollback.roll_back", lambda *_what: "rides.v3")
    run = CliRunner().invoke

    assert "Done: rides.v3 serves." in run(cli.app, ["rollback", "rides", "--reason", "it answers rubbish"]).output
    assert run(cli.app, ["pause", "rides", "--reason", "night"]).output.startswith("Paused since")
    assert "'rides' acts by itself again" in run(cli.app, ["resume", "rides"]).output
    with pytest.raises(ConfigError, match="Did you mean 'rides'"):
        run(cli.app, ["pause", "ride"], catch_exceptions=False)
