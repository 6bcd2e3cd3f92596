import gzip
import json
from datetime import UTC, datetime
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from include import artefact, atomic, cli, erasure, reports
from include.errors import ErasureError
from include.ledger import nights, open_ledger

KEY, OTHER = "ride-7", "ride-77"


@pytest.fixture
def lake(settings):
    return settings.lake / "rides"


@pytest.fixture
def everywhere(lake, settings):
    """Leave one subject, and another with a name much like it, wherever rows of a subject come to lie."""
    rows = pa.table({"answer_id": ["1", "2", "3"], "ride_id": [KEY, OTHER, KEY], "prediction": [0.1, 0.2, 0.3]})
    put(lake / "predictions" / "day=2020-01-01" / "a.parquet", rows)
    put(lake / "scores" / "version=1" / "day=2020-01-01" / "scores.parquet", rows)
    put(lake / "runs" / "rides.1" / "windows.parquet", rows.replace_schema_metadata({"evergreen": "{}"}))
    texts = [json.dumps({"ride_id": OTHER}), json.dumps({"malformed": f"x,{KEY},3"}), json.dumps({"ride_id": KEY})]
    put(lake / "quarantine" / "run=1" / "day=2020-01-01" / "part.parquet", pa.table({"row": texts}))
    tracked = settings.data / "mlartifacts" / "1" / "run" / "artifacts" / "model"
    for folder in (settings.models / "rides" / "rides.hand.1", tracked):
        for name in (artefact.HOLDOUT, artefact.REFERENCE):
            put(folder / name, rows)
    (tracked / "card.md").write_text("# rides: model of request `rides.hand.1`\n")
    reports.write_page(lake / "reports" / "validation" / "2020-01-01" / "run.html.gz", f"<td>{KEY}</td>")
    reports.write_page(lake / "reports" / "validation" / "2020-01-02" / "run.html.gz", f"<td>{OTHER}</td>")
    put(lake / "raw" / "events" / "day=2020-01-01" / "aaa.parquet", rows.select(["ride_id"]))
    (lake / "raw" / "events" / "day=2020-01-01" / "aaa.csv.gz").write_bytes(gzip.compress(f"{KEY},1\n".encode()))
    with open_ledger() as session:
        nights.record_partition(
            session, "rides", "2020-01-01", status="refused", rows=1, quarantined=0, run_key="r", report="",
            note=f"1 of 2 rows fail, such as ['{KEY}', '{OTHER}']",
        )  # fmt: skip


def put(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)


def holders(settings):
    """Search everything on this disk for the key, in Parquet files by their text."""
    found = set()
    for path in settings.data.rglob("*"):
        if path.suffix == ".parquet":
            text = json.dumps(pq.ParquetFile(path).read().to_pylist())
        elif path.suffix == ".gz":
            text = gzip.decompress(path.read_bytes()).decode()
        else:
            text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        if f'"{KEY}"' in text or f"{KEY}<" in text or f"{KEY}," in text or f"'{KEY}'" in text:
            found.add(str(path.relative_to(settings.data)).split("/")[-1])
    return found


def test_a_subject_disappears_from_all_that_was_captured_and_derived(rides, everywhere, settings, lake):
    assert len(holders(settings)) > 6

    outcome = erasure.erase(rides, KEY, really=True)

    assert sum(outcome.erased.values()) == 2 + 2 + 2 + 2 + 4 * 2 + 1 + 1
    assert holders(settings) == {"aaa.parquet", "aaa.csv.gz"}
    assert {path.rsplit("/")[-1] for path in outcome.elsewhere} == {"aaa.parquet", "aaa.csv.gz"}


def test_others_keep_their_rows_whatever_their_names_look_like(rides, everywhere, settings, lake):
    erasure.erase(rides, KEY, really=True)

    kept = pq.ParquetFile(lake / "predictions" / "day=2020-01-01" / "a.parquet").read()
    assert kept["answer_id"].to_pylist() == ["2"]
    windows = pq.ParquetFile(lake / "runs" / "rides.1" / "windows.parquet").read()
    assert (len(windows), windows.schema.metadata) == (1, {b"evergreen": b"{}"})
    assert [path.parent.name for path in lake.rglob("run.html.gz")] == ["2020-01-02"]
    with open_ledger() as session:
        (row,) = nights.partitions_of(session, "rides")
    assert row.note == f"1 of 2 rows fail, such as ['(erased)', '{OTHER}']"


def test_without_a_yes_it_only_says_what_would_go(rides, everywhere, settings):
    before = holders(settings)

    outcome = erasure.erase(rides, KEY, really=False)

    assert sum(outcome.erased.values()) == 18
    assert holders(settings) == before


def test_what_was_done_is_written_down_without_the_key(rides, everywhere, lake):
    erasure.erase(rides, KEY, really=True)
    erasure.erase(rides, KEY, really=True)

    first, second = map(json.loads, (lake / "erasures.jsonl").read_text().splitlines())
    assert KEY not in (lake / "erasures.jsonl").read_text()
    assert first["sha256"] == sha256(f"{first['salt']}{KEY}".encode()).hexdigest()
    assert (first["rows"], second["rows"]) == (18, 0)
    assert datetime.fromisoformat(first["at"]).tzinfo == UTC


def test_killed_anywhere_a_second_erasure_finishes(rides, everywhere, settings, monkeypatch):
    replacing = atomic.os.replace
    done = 0

    def killed(*arguments):
        nonlocal done
        done += 1
        if done > 3:
            raise KeyboardInterrupt
        replacing(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            erasure.erase(rides, KEY, really=True)

    erasure.erase(rides, KEY, really=True)
    assert holders(settings) == {"aaa.parquet", "aaa.csv.gz"}


def test_rows_that_arrive_meanwhile_are_found_by_the_last_look(rides, everywhere, lake, monkeypatch):
    rewrite = erasure._rewrite

    def rewrite_and_capture(path, keep):
        rewrite(path, keep)
        put(lake / "predictions" / "day=2020-01-09" / "new.parquet", pa.table({"answer_id": ["9"], "ride_id": [KEY]}))

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_rewrite", rewrite_and_capture)
        with pytest.raises(ErasureError, match=r"new\.parquet.*Erase it again"):
            erasure.erase(rides, KEY, really=True)


def test_the_command_shows_first_and_erases_with_yes(rides, everywhere, settings):
    run = CliRunner().invoke

    assert "to erase" in run(cli.app, ["erase", "rides", "--key", KEY]).output
    assert "run.html.gz" in holders(settings)
    assert run(cli.app, ["erase", "rides", "--key", KEY, "--yes"]).exit_code == 0
    assert "run.html.gz" not in holders(settings)


@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_what_is_packed_and_cut_off_is_named_for_a_look_by_hand(rides, everywhere, lake, settings, yes, monkeypatch):
    monkeypatch.setattr(cli, "console", Console(width=300))
    whole = gzip.compress(f"{KEY},1\n{OTHER},2\n".encode() * 100)
    raw = lake / "raw" / "events" / "day=2020-01-01"
    landing = settings.data / "landing"
    landing.mkdir()
    (landing / "cut.csv.gz").write_bytes(whole[:-9])  # EOFError
    (raw / "plain.csv.gz").write_bytes(f"{KEY},1\n".encode())  # OSError
    (raw / "torn.csv.gz").write_bytes(whole[:10] + b"\xff" * 40)  # zlib.error
    (lake / "reports" / "validation" / "2020-01-02" / "cut.html.gz").write_bytes(whole[:-9])
    pq.write_table(pa.table({rides.key: [KEY, OTHER]}), landing / "whole.parquet")
    (raw / "cut.parquet").write_bytes((landing / "whole.parquet").read_bytes()[:-9])

    done = CliRunner().invoke(cli.app, ["erase", "rides", "--key", KEY, *yes])

    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.output.splitlines()]
    unread = [line.rsplit("/")[-1] for line in lines if line.startswith("not searched  ?")]
    assert sorted(unread) == ["cut.csv.gz", "cut.html.gz", "cut.parquet", "plain.csv.gz", "torn.csv.gz"]
    for name in ("plain.csv.gz", "whole.parquet"):
        assert [line for line in lines if line.startswith("left") and line.endswith(name)]
    assert "by hand" in lines[-1]
