"""The round trip: quarantined, exported, repaired by a person, delivered again, cleaned by Spark."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from include import publication, quarantine
from include.cleaning import job
from include.errors import BadDeliveryError
from include.ingestion.delivery import land
from include.ingestion.repairs import repairs_of
from include.ledger import nights, open_ledger

DAY = "2020-01-01"
EVENTS = f"ride_id,day,distance,carrier\na,{DAY},5,AA\nb,{DAY},far,AA\nc,{DAY},7\nd,2020-01-02,9,B6\ne,{DAY},near,AA\n"


@pytest.fixture
def ingest(rides, delivery_of, spark, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def shared():
        yield spark

    monkeypatch.setattr(job, "spark_session", shared)

    def run(run_key, events=EVENTS, labels="ride_id,late\na,true\nb,perhaps\n"):
        for path, text in zip(delivery_of(rides, DAY).values(), (events, labels), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        staged_uri = job.clean(rides, land(rides, [DAY], run_key), run_key)
        verdict = {"passed": [DAY], "refused": {}, "reports": {}}
        publication.publish(rides, staged_uri, verdict, run_key)
        files = json.loads(Path(staged_uri).read_text())["days"][DAY]["files"]
        rows = pq.ParquetFile(files[0]).read(columns=["ride_id", "distance", "late"]).to_pylist()
        return {row["ride_id"]: (row["distance"], row["late"]) for row in rows}

    return run


def repair(path, **changes):
    """Change the exported rows by their number in the delivery; rows not named are deleted, as a person would."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row | changes[mark] for row in rows if (mark := f"{row['source_kind']}_{row['source_row']}") in changes]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(kept)


def broken(rides):
    return {(each.kind, each.row, each.rules) for each in quarantine.quarantined(rides)}


def counted():
    with open_ledger() as session:
        [day] = nights.partitions_of(session, "rides")
        return day.rows, day.quarantined, day.repaired


@pytest.fixture
def exported(rides, ingest, tmp_path):
    ingest("run-1")
    path = tmp_path / "repair.csv"
    assert quarantine.export(rides, DAY, path) == 5
    return path


def test_rows_are_exported_as_delivered_with_rule_and_place(rides, exported):
    with exported.open(newline="") as file:
        rows = {(row["source_kind"], row["source_row"]): row for row in csv.DictReader(file)}

    assert (rows["events", "3"]["distance"], rows["events", "3"]["rules"]) == ("far", "type:distance")
    assert (rows["events", "4"]["malformed"], rows["events", "4"]["ride_id"]) == (f"c,{DAY},7", "")
    assert (rows["labels", "3"]["late"], rows["labels", "3"]["distance"]) == ("perhaps", "")
    assert rows["events", "3"]["source_file"].startswith("raw/events/day=2020-01-01/")


def test_repaired_rows_take_the_place_of_the_broken_ones_and_are_counted(rides, exported, ingest):
    repair(
        exported,
        events_3={"distance": "6"},
        events_4={"ride_id": "c", "day": DAY, "distance": "7", "carrier": "UA"},
        events_6={"distance": "still near"},
        labels_3={"late": "false"},
    )

    assert quarantine.redeliver(rides, exported) == {DAY: 4}
    assert ingest("run-2") == {"a": (5.0, True), "b": (6.0, False), "c": (7.0, None)}

    assert counted() == (3, 2, 3)
    assert broken(rides) == {("events", 5, ("wrong_day",)), ("events", 6, ("type:distance",))}


def test_what_failed_again_is_exported_and_repaired_again(rides, exported, ingest):
    repair(exported, events_3={"distance": "6"}, events_6={"distance": "still near"})
    quarantine.redeliver(rides, exported)
    ingest("run-2")
    quarantine.export(rides, DAY, exported)
    repair(exported, events_6={"distance": "8"})
    quarantine.redeliver(rides, exported)

    found = ingest("run-3")

    assert (found["b"][0], found["e"][0]) == (6.0, 8.0)
    assert counted()[2] == 2


def test_delivering_a_repair_twice_or_ingesting_it_twice_changes_nothing(rides, exported, ingest):
    repair(exported, events_3={"distance": "6"})
    quarantine.redeliver(rides, exported)
    quarantine.redeliver(rides, exported)
    first = ingest("run-2")

    assert ingest("run-2") == first
    assert len(repairs_of("rides", DAY)) == 1
    assert counted() == (2, 4, 1)


def test_the_original_delivery_stays_as_it_came(rides, exported, ingest, settings):
    raw = {path: path.read_bytes() for path in (settings.lake / "rides" / "raw").rglob("*") if path.is_file()}
    repair(exported, events_3={"distance": "6"})
    quarantine.redeliver(rides, exported)
    ingest("run-2")

    assert {path: path.read_bytes() for path in raw} == raw


def test_a_corrected_delivery_of_the_whole_day_takes_nothing_over_from_repairs(rides, exported, ingest):
    repair(exported, events_3={"distance": "6"})
    quarantine.redeliver(rides, exported)

    found = ingest("run-2", events=f"ride_id,day,distance,carrier\na,{DAY},1,AA\nz,{DAY},2,AA\n")

    assert found.keys() == {"a", "z"}
    assert counted()[2] == 0


def test_a_spreadsheets_semicolons_and_byte_order_mark_are_read(rides, exported, ingest):
    repair(exported, events_3={"distance": "6"})
    exported.write_bytes(b"\xef\xbb\xbf" + exported.read_bytes().replace(b",", b";"))

    quarantine.redeliver(rides, exported)

    assert ingest("run-2")["b"][0] == 6.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("source_row", "row"), r"column \['source_row'\] is missing"),
        (lambda text: text.replace("events,2020-01-01", "events,01.01.2020"), "expected YYYY-MM-DD as exported"),
        (lambda text: text.replace(".csv,3,", ".csv,99,"), "row 99 of 2020-01-01 is not in quarantine"),
        (
            lambda text: text.replace(".csv,3,", ".csv,three,"),
            "row 2 has not .* or no number",
        ),
        (lambda text: text.splitlines()[0] + "\n", "has no rows"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_whole_in_words(rides, exported, spoil, message):
    repair(exported, events_3={"distance": "6"})
    exported.write_text(spoil(exported.read_text()))

    with pytest.raises(BadDeliveryError, match=message):
        quarantine.redeliver(rides, exported)

    assert repairs_of("rides", DAY) == []


def test_rows_are_counted_by_day_and_rule(rides, exported):
    assert len(quarantine.quarantined(rides, rule="type:distance")) == 2
    assert quarantine.quarantined(rides, day="2020-02-02") == []
    assert quarantine.list_view(quarantine.quarantined(rides)).row_count == 4


def test_a_day_without_bad_rows_has_nothing_to_export(rides, ingest, tmp_path):
    with pytest.raises(BadDeliveryError, match="Nothing of 2020-01-01 is in quarantine"):
        quarantine.export(rides, DAY, tmp_path / "x.csv")
