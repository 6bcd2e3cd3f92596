"""Runs that meet: each test lets two of them go at once and looks at what stands afterwards."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from include import lake, publication
from include.ledger import Publication, nights, open_ledger

FIRST, SECOND = "2013-07-01", "2013-07-02"


def verdict(*days):
    return {"passed": list(days), "refused": {}, "reports": {}}


def at_once(*jobs):
    """Run jobs together and return what each returned."""
    barrier = Barrier(len(jobs))

    def run(job):
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


@pytest.mark.parametrize("trial", range(3))
def test_two_ingests_of_the_same_day_leave_one_delivery_whole_and_the_ledger_says_which(pipeline, stage, trial):
    few, many = stage("few", d2013_07_01=["a"]), stage("many", d2013_07_01=["x", "y", "z"])

    ids = at_once(
        lambda: publication.publish(pipeline, few, verdict(FIRST), "few"),
        lambda: publication.publish(pipeline, many, verdict(FIRST), "many"),
    )

    keys = lake.read_clean(pipeline.name, FIRST, FIRST, ["flight_id"])["flight_id"].to_pylist()
    with open_ledger() as session:
        row = nights.partitions_of(session, pipeline.name)[0]
        announced = [session.get_one(Publication, each).days for each in ids]
    assert (keys, row.run_key, row.rows) in [(["a"], "few", 1), (["x", "y", "z"], "many", 3)]
    assert announced == [[FIRST], [FIRST]]


def test_two_ingests_of_different_days_both_stand_also_where_they_make_the_table(pipeline, stage):
    one, two = stage("one", d2013_07_01=["a"]), stage("two", d2013_07_02=["b"])

    at_once(
        lambda: publication.publish(pipeline, one, verdict(FIRST), "one"),
        lambda: publication.publish(pipeline, two, verdict(SECOND), "two"),
    )

    assert lake.read_clean(pipeline.name, FIRST, SECOND, ["flight_id"])["flight_id"].to_pylist() == ["a", "b"]
    with open_ledger() as session:
        assert nights.published_days(session, pipeline.name) == [FIRST, SECOND]


def test_a_run_that_was_overtaken_between_table_and_ledger_does_not_write_over_the_newer_word(
    pipeline, stage, monkeypatch
):
    old, new = stage("old", d2013_07_01=["a"]), stage("new", d2013_07_01=["x", "y"])
    publish = lake.publish

    def publish_and_be_overtaken(*arguments):
        found = publish(*arguments)
        monkeypatch.setattr(lake, "publish", publish)
        publication.publish(pipeline, new, verdict(FIRST), "new")
        return found

    monkeypatch.setattr(lake, "publish", publish_and_be_overtaken)
    publication.publish(pipeline, old, verdict(FIRST), "old")

    with open_ledger() as session:
        row = nights.partitions_of(session, pipeline.name)[0]
    assert (row.run_key, row.rows) == ("new", 2)
