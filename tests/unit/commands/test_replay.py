"""The commands on a short history, with answers in the place of trainings."""

import json
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.cli import main
from include.errors import NotEnoughDataError

DAYS = [(date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(30)]
FIRST, LAST = DAYS[20], DAYS[-1]
PER_DAY = 20


def read_clean(_name: str, first: str, last: str, columns: list[str]) -> pa.Table:
    size = len(DAYS) * PER_DAY
    table = pa.table(
        {
            "ride_id": [f"r{number:05}" for number in range(size)],
            "day": np.repeat(DAYS, PER_DAY),
            "late": np.arange(size) % 2 == 0,
            "distance": np.linspace(0.0, 1.0, size),
            "carrier": ["AA"] * size,
        }
    )
    days = table["day"]
    return table.filter(pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))).select(columns)


def answers(history, _first: int, _last: int) -> np.ndarray:
    return np.full(len(history.labels), 0.5)


@pytest.fixture
def evergreen(rides, monkeypatch, capsys):
    """Run the command line; return its exit code and what it has printed, on one line each."""
    monkeypatch.setattr("include.lake.read_clean", read_clean)
    monkeypatch.setattr("include.replay.history._MAKERS", {"network": answers, "scout": answers})
    monkeypatch.setattr("include.commands.console.width", 200)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evergreen", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", ["replay", "calibrate"])
@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2020-13-01", LAST, "--from '2020-13-01' is no day: expected is YYYY-MM-DD"),
        ("01.03.2020", LAST, "--from '01.03.2020' is no day: expected is YYYY-MM-DD"),
        (FIRST, "20200130", "--to '20200130' is no day: expected is YYYY-MM-DD"),
        (LAST, FIRST, f"--from {LAST} is after --to {FIRST}"),
        (
            "2022-01-01",
            "2022-02-01",
            f"labelled days from {DAYS[0]} to {LAST}: none of them lies in 2022-01-01 to 2022-",
        ),
        ("2019-01-01", "2019-02-01", f"labelled days from {DAYS[0]} to {LAST}: a replay from 2019-01-01 needs 8"),
        (DAYS[3], DAYS[9], f"labelled days from {DAYS[0]} to {LAST}: a replay from {DAYS[3]} needs 8 labelled days or"),
    ],
)
def test_days_that_cannot_be_replayed_are_refused_in_one_line(evergreen, command, first, last, words):
    code, printed, _ = evergreen(command, "rides", "--from", first, "--to", last)

    assert (code, printed.count("\n")) == (1, 1)
    assert printed.startswith("✘ ")
    assert words in printed


def test_an_empty_table_is_refused_in_one_line(evergreen, monkeypatch):
    def refuse(*_):
        raise NotEnoughDataError("rides: the clean table is empty. Ingest some days first.")

    monkeypatch.setattr("include.lake.read_clean", refuse)

    code, printed, _ = evergreen("replay", "rides", "--from", FIRST, "--to", LAST)

    assert (code, printed) == (1, "✘ rides: the clean table is empty. Ingest some days first.\n")


@pytest.mark.parametrize("command", [("replay", "--policy", "static"), ("calibrate",)])
def test_the_title_names_the_days_there_are_and_a_line_those_asked_for(evergreen, command):
    name, *options = command

    code, printed, noted = evergreen(name, "rides", *options, "--from", FIRST, "--to", "2020-12-31")

    assert code == 0
    assert f"rides, {FIRST} to {LAST}" in printed
    assert noted.startswith(f"! Asked for {FIRST} to 2020-12-31: ")
    assert noted.count("\n") == 1


def test_an_unknown_policy_is_refused_before_the_first_is_replayed(evergreen, monkeypatch):
    monkeypatch.setattr("include.replay.history._MAKERS", {})  # a replay would fail by a KeyError

    code, printed, _ = evergreen(
        "replay", "rides", "--policy", "static", "--policy", "governor:", "--from", FIRST, "--to", LAST
    )

    assert code == 1
    assert "recalibrate, reinstate, retrain" in printed


def test_a_governor_that_did_nothing_says_so(evergreen):
    _, printed, noted = evergreen("replay", "rides", "--policy", "governor", "--from", FIRST, "--to", LAST)

    assert printed.endswith("governor: decided to do nothing on all days.\n")
    assert noted == ""


def test_a_plot_is_written_where_it_is_told_and_json_stays_json(evergreen, tmp_path):
    plot = tmp_path / "new" / "plot"

    code, printed, noted = evergreen(
        "replay", "rides", "--policy", "static", "--from", FIRST, "--to", LAST, "--plot", str(plot), "--json"
    )

    assert code == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert noted == f"The loss over time is drawn in {plot}\n"
    assert "static" in json.loads(printed)


@pytest.mark.parametrize("where", [".", "file/plot.png"])
def test_a_plot_that_cannot_be_written_is_refused_before_the_replay(evergreen, tmp_path, monkeypatch, where):
    (tmp_path / "file").touch()
    monkeypatch.setattr("include.replay.history._MAKERS", {})  # a replay would fail by a KeyError

    code, printed, _ = evergreen("replay", "rides", "--from", FIRST, "--to", LAST, "--plot", str(tmp_path / where))

    assert code == 1
    assert printed.startswith(f"✘ --plot {tmp_path / where} cannot be written (")
