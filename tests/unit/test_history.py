import io
import json
from datetime import date

import pytest
from rich.console import Console
from typer.testing import CliRunner

from include.cli import app
from include.history import changes_of, history_of, history_page, history_plot, history_table
from include.ledger import Window, nights, open_ledger


def window(day, version=1, quality=0.7, share=0.2, **measures):
    numbers = {"rows": 1200, "labelled": 900, "drifted_share": share, "quality": quality}
    return Window(pipeline="rides", day=day, version=version, **numbers, measures=measures, report="")


@pytest.fixture
def measured(rides):
    estimate = {"state": "known", "auc": 0.72, "ranges": {"auc": [0.70, 0.75]}}
    with open_ledger() as session:
        nights.record_windows(
            session,
            [
                window(
                    "2020-01-01", estimate=estimate, estimate_error={"auc": 0.02}, concept={"state": "yes", "why": ""}
                ),
                window("2020-01-02", quality=None, share=None, drift={"state": "unknown", "why": "few"}),
                window("2020-01-02", version=2, labels={"state": "drifted"}, drift={"plain_share": 0.5}),
            ],
        )
    return history_of(rides)


def test_each_day_and_version_is_a_row_also_one_that_an_older_evergreen_measured(measured):
    first, old, new = measured

    assert (first["auc"], first["estimated"], first["estimate_error"], first["drift"]) == (0.7, 0.72, 0.02, 0.2)
    assert (first["states"]["concept"], first["states"]["labels"]) == ("yes", "unknown")
    assert (old["auc"], old["estimated"], old["drift"]) == (None, None, None)
    assert (new["version"], new["drift_unweighted"], new["states"]["labels"]) == (2, 0.5, "drifted")


def test_people_see_numbers_and_states(measured):
    console = Console(width=170, file=io.StringIO(), record=True)
    console.print(history_table(measured, "auc"))

    line = next(line for line in console.export_text().splitlines() if "2020-01-01" in line)
    assert line.split()[:8] == ["2020-01-01", "v1", "1,200", "900", "0.700", "0.720", "+0.020", "20%"]
    assert line.split()[8:10] == ["concept", "drift,"]  # moved; unknown


def test_a_change_of_version_is_marked(measured):
    assert changes_of(measured) == [(date(2020, 1, 2), 2)]


@pytest.mark.parametrize("rows", [slice(None), slice(0, 0)], ids=["some days", "none"])
def test_the_plot_is_a_picture(measured, rows):
    assert history_plot(measured[rows], "auc").startswith(b"\x89PNG")


def test_the_page_holds_plot_and_table(measured, rides):
    page = history_page(rides)

    assert 'src="data:image/png;base64,' in page
    assert "2020-01-02" in page


def test_the_command_prints_a_table_or_json_and_draws(measured, tmp_path):
    told = CliRunner().invoke(app, ["history", "rides", "--json", "--plot", str(tmp_path / "plot.png")])

    assert json.loads(told.stdout) == measured
    assert (tmp_path / "plot.png").stat().st_size > 5_000
    assert "drift: share of what" in CliRunner().invoke(app, ["history", "rides"]).stdout


def test_a_pipeline_that_nobody_asked_has_no_history(rides):
    assert "No day was served" in CliRunner().invoke(app, ["history", "rides"]).stdout
