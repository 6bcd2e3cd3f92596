import pytest
from fastapi.testclient import TestClient

from include.ledger import Window, nights, open_ledger, releases
from include.serving import gauges
from include.serving.app import create_app


@pytest.fixture
def page(settings, monkeypatch):
    monkeypatch.setattr(gauges, "SECONDS_BETWEEN_LOOKS", 0)
    with TestClient(create_app(settings)) as client:
        yield lambda: client.get("/metrics").text


def put_champion():
    with open_ledger() as session:
        fields = {"model_uri": "m", "sha256": "s", "tracking_run": "", "judged_until": "2019-12-01", "quality": 0.7}
        release = releases.add_release(session, "rides", "r1", **fields, metrics={}, gate={}, compared_with=None)
        releases.judge(session, release.id, approved=True, note="")
        releases.finish_promotion(session, release.id, releases.begin_promotion(session, release.id))


def put_window(day, judged, **measures):
    numbers = {"rows": 400, "labelled": 400, "drifted_share": 0.25, "quality": judged}
    with open_ledger() as session:
        nights.record_windows(
            session, [Window(pipeline="rides", day=day, version=1, **numbers, measures=measures, report="")]
        )


def test_the_newest_measured_day_and_the_newest_judged_one_are_shown(page):
    put_champion()
    put_window("2020-01-01", 0.66, quality={"state": "known", "auc": 0.66, "log_loss": 0.5, "labels": {"rate": 0.3}})
    put_window("2020-01-02", None, estimate={"state": "known", "rows": 400, "auc": 0.71, "ranges": {"auc": [0.7, 0.8]}})

    lines = page().splitlines()

    for line in (
        'evergreen_champion_version{pipeline="rides"} 1.0',
        'evergreen_drifted_share{pipeline="rides"} 0.25',
        'evergreen_measured_rows{pipeline="rides"} 400.0',
        'evergreen_quality{metric="auc",pipeline="rides"} 0.66',
        'evergreen_estimated_quality{metric="auc",pipeline="rides"} 0.71',
        "evergreen_ledger_readable 1.0",
    ):
        assert line in lines
    assert 'metric="rows"' not in page()


def test_a_pipeline_without_a_champion_or_a_measured_day_has_no_numbers(page):
    assert "evergreen_champion_version{" not in page()
    put_champion()
    assert "evergreen_champion_version{" in page()
    assert "evergreen_drifted_share{" not in page()


def test_a_ledger_that_cannot_be_read_leaves_what_was_known(page, monkeypatch):
    put_champion()
    page()

    def fail(_url):
        raise OSError("gone")

    monkeypatch.setattr(gauges, "_samples", fail)

    assert "evergreen_ledger_readable 0.0" in page()
    assert 'evergreen_champion_version{pipeline="rides"} 1.0' in page()


def test_who_comes_while_the_ledger_is_read_does_not_wait(settings):
    known = gauges.LedgerGauges(settings.ledger_url)

    with known._looking:
        names = [family.name for family in known.collect()]

    assert "evergreen_ledger_readable" in names
