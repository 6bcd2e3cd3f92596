import pytest
from typer.testing import CliRunner

from include import cli
from include.errors import ConfigError


def test_an_error_is_printed_as_it_is_also_where_it_looks_like_markup(monkeypatch, capsys):
    def fail():
        raise ConfigError("expected '^[a-z][/]{1,60}$', found 'A'")

    monkeypatch.setattr(cli, "app", fail)

    with pytest.raises(SystemExit):
        cli.main()

    assert capsys.readouterr().out == "✘ expected '^[a-z][/]{1,60}$', found 'A'\n"


def test_rollback_goes_to_the_champion_before_and_says_so(monkeypatch, rides):
    asked = []
    monkeypatch.setattr("include.cli.load_pipeline", lambda _name: rides)
    monkeypatch.setattr("include.promotion.version_before", lambda name, to: asked.append((name, to)) or 3)
    monkeypatch.setattr("include.promotion.rollback_told", lambda name, to: f"{name} goes back to v{to}.")
    monkeypatch.setattr("include.promotion.rollback", lambda *what: asked.append(what) or "rides.v3")

    told = CliRunner().invoke(cli.app, ["rollback", "rides", "--reason", "it answers rubbish"])

    assert told.output == "rides goes back to v3.\nDone: rides.v3 serves.\n"
    assert asked == [("rides", None), ("rides", "it answers rubbish", 3)]


def test_where_there_is_nothing_to_go_back_to_it_is_a_sentence(monkeypatch, capsys, rides):
    monkeypatch.setattr("include.cli.load_pipeline", lambda _name: rides)
    monkeypatch.setattr("sys.argv", ["evergreen", "rollback", "rides", "--reason", "it answers rubbish"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 1
    assert "✘ Nothing to roll back to: wanted the one before, the champion is none" in capsys.readouterr().out
