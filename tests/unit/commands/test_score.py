import pytest
from typer.testing import CliRunner

from include import cli
from include.scoring import job


def test_it_says_how_many_days_and_rows_were_scored_and_where(monkeypatch, rides):
    asked = []
    scored = job.Scored(4, {"2020-01-01": 1_000, "2020-01-03": 234}, 5, 6.78, "/lake/rides/scores/version=4")
    monkeypatch.setattr(job, "score", lambda *what: asked.append(what) or scored)

    told = CliRunner().invoke(cli.app, ["score", "rides", "2020-01-01", "2020-01-04", "--version", "4"])

    assert asked == [(rides, "2020-01-01", "2020-01-04", 4)]
    for said in ("1,234", "2020-01-03", "6.8", "They are in /lake/rides/scores/version=4"):
        assert said in told.output


def test_without_a_champion_it_is_a_sentence(monkeypatch, capsys, rides):
    monkeypatch.setattr("sys.argv", ["evergreen", "score", "rides", "2020-01-01", "2020-01-02"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 1
    assert "✘ 'rides' has no champion. Releases: none." in capsys.readouterr().out
