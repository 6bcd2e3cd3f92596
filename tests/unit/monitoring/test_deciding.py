import pytest

from include.errors import PublishError
from include.jobs import Wanted
from include.ledger import Partition, Publication, Window, alerts, jobs, nights, open_ledger, pauses, releases, requests
from include.monitoring.deciding import decide

DRIFT = {
    "drift": {
        "columns": {"distance": {"state": "drifted", "effect": 1.5}, "carrier": {"state": "stable", "effect": 0.1}}
    }
}


@pytest.fixture(autouse=True)
def _ledger(settings):
    pass


def publish(*days, name="run-1", rows=500):
    with open_ledger() as session:
        for day in days:
            session.merge(
                Partition(
                    pipeline="rides",
                    day=day,
                    status="published",
                    rows=rows,
                    labelled=rows,
                    quarantined=0,
                    run_key="r",
                    report="",
                    note="",
                )
            )
        nights.announce(session, Publication(id=name, pipeline="rides", days=list(days), rows=rows, snapshot_id="1"))
    return name


def measured(day, quality, version=1):
    with open_ledger() as session:
        numbers = {"rows": 200, "labelled": 200, "drifted_share": 0.5, "quality": quality}
        nights.record_windows(
            session, [Window(pipeline="rides", day=day, version=version, **numbers, measures=DRIFT, report="")]
        )


def enter_champion(compared_with=None):
    with open_ledger() as session:
        version = releases.next_version(session, "rides")
        fields = {"model_uri": "m", "sha256": "s", "tracking_run": "", "judged_until": "2019-12-01", "quality": 0.7}
        release = releases.add_release(
            session, "rides", f"r{version}", **fields, metrics={"auc": 0.7}, gate={}, compared_with=compared_with
        )
        releases.judge(session, release.id, approved=True, note="")
        releases.finish_promotion(session, release.id, releases.begin_promotion(session, release.id))


def all_requests():
    with open_ledger() as session:
        return [request.id for request in requests.unfinished_requests(session, "rides")]


def test_enough_published_rows_ask_for_the_first_model_once(rides):
    first = decide(rides, publish("2019-12-31", "2020-01-01", name="a"))
    second = decide(rides, publish("2020-01-02", name="b"))

    assert (first.action, first.request_id) == ("retrain", "rides.first.model")
    assert (second.action, second.request_id) == ("nothing", None)
    assert all_requests() == ["rides.first.model"]


def test_rows_that_would_only_be_held_out_ask_for_nothing(rides):
    assert decide(rides, publish("2020-01-01", rows=5000)).action == "nothing"


def test_too_few_rows_ask_for_nothing(rides):
    assert decide(rides, publish("2020-01-01", rows=99)).action == "nothing"


def fail(request_id):
    with open_ledger() as session:
        requests.close_request(session, request_id, status="failed", note="crashed")


def trained_for(request_id, hours, by=""):
    """Note a job of a platform that ran for so long and failed; ask for it first, where somebody did by hand."""
    with open_ledger() as session:
        if by:
            requests.file_request(session, "rides", reason="", triggered_by=by, key="run-1", detail={})
            requests.close_request(session, request_id, status="done", note="")
        attempt = jobs.next_attempt(session, Wanted("rides", request_id, "aws", "cuda", 1.0, 3600))
        jobs.end(session, attempt.name, "failed", reason="crashed", seconds=3600 * hours)


def test_a_first_training_that_failed_is_asked_for_again_with_new_data_after_its_cooldown(rides):
    decide(rides, publish("2019-12-31", "2020-01-01", name="a"))
    fail("rides.first.model")

    soon = decide(rides, publish("2020-01-07", name="b"))
    decision = decide(rides, publish("2020-01-08", name="c"))

    assert (soon.action, soon.request_id) == ("nothing", None)
    assert "Cooldown: a challenger that came to nothing has seen data until 2020-01-01, 6 days" in soon.reason
    assert decision.request_id == "rides.first.2020-01-08"


def test_a_first_training_that_failed_is_not_asked_for_again_with_the_same_data(rides):
    often = rides.governor.model_copy(update={"cooldown_days": 0, "max_trainings_per_week": 3})
    eager = rides.model_copy(update={"governor": often})
    for name in ("a", "b"):
        fail(decide(eager, publish("2019-12-31", "2020-01-01", name=name)).request_id)

    decision = decide(eager, publish("2020-01-01", name="c"))

    assert (decision.action, decision.request_id) == ("nothing", None)
    assert "rides.first.2020-01-01 has asked for that already and is failed: crashed" in decision.reason


def test_where_first_trainings_keep_failing_a_person_is_called(rides):
    for day in ("2020-01-01", "2020-01-08", "2020-01-15"):
        fail(decide(rides, publish("2019-12-31", day, name=day)).request_id)

    decision = decide(rides, publish("2020-01-22"))

    assert (decision.action, "3 trainings in a row" in decision.reason) == ("nothing", True)
    with open_ledger() as session:
        assert [each.kind for each in alerts.untold_alerts(session)] == ["limit"]


def test_hours_of_trainings_that_came_to_nothing_are_spent_and_those_asked_for_by_hand_are_not(rides):
    limited = rides.model_copy(update={"governor": rides.governor.model_copy(update={"monthly_hours": 2.0})})
    trained_for("rides.hand.run-1", hours=1.9, by="hand")
    first = decide(limited, publish("2019-12-31", "2020-01-01", name="a"))
    trained_for(first.request_id, hours=1.5)
    fail(first.request_id)

    spent = decide(limited, publish("2020-01-08", name="b"))

    assert first.action == "retrain"
    assert (spent.action, "took 1.50 h, another 1.50 h would exceed" in spent.reason) == ("nothing", True)


def test_three_bad_nights_file_a_request_with_reason_and_evidence(rides):
    enter_champion()
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5)

    decision = decide(rides, publish("2020-01-03"))

    assert (decision.action, decision.request_id) == ("retrain", "rides.quality.2020-01-03")
    assert "distance 1.50" in decision.reason
    with open_ledger() as session:
        (request,) = requests.open_requests(session, "rides", older_than_seconds=0)
        assert (request.triggered_by, request.reason) == ("quality", decision.reason)
        assert request.detail["newest_day"] == "2020-01-03"


def test_deciding_again_changes_nothing(rides):
    enter_champion()
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5)
    publication = publish("2020-01-03")
    first = decide(rides, publication)
    measured("2020-01-03", 0.7)

    again = decide(rides, publication)

    assert (again.action, again.reason, again.request_id) == (first.action, first.reason, first.request_id)
    assert len(all_requests()) == 1


def test_a_decided_publication_is_done(rides):
    decide(rides, publish("2020-01-01"))

    with open_ledger() as session:
        assert session.get(Publication, "run-1").status == "done"


def test_history_asks_for_nothing_however_bad_the_nights_before(rides):
    enter_champion()
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5)

    assert decide(rides, publish("2019-12-20")).action == "nothing"


def test_nights_of_an_earlier_version_do_not_count_against_the_champion(rides):
    enter_champion()
    enter_champion(compared_with=1)
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5, version=1)

    decision = decide(rides, publish("2020-01-03"))

    assert (decision.action, "Version 2 has not served" in decision.reason) == ("nothing", True)


def test_a_release_that_waits_for_its_deployment_holds_further_requests_back(rides):
    enter_champion()
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5)
    with open_ledger() as session:
        fields = {"model_uri": "m", "sha256": "s", "tracking_run": "", "judged_until": "2019-12-01", "quality": 0.7}
        releases.add_release(session, "rides", "r9", **fields, metrics={}, gate={}, compared_with=1)

    decision = decide(rides, publish("2020-01-03"))

    assert (decision.action, "rides.v2" in decision.reason) == ("nothing", True)


def test_a_closed_request_of_the_same_day_is_not_filed_again(rides):
    enter_champion()
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5)
    decide(rides, publish("2020-01-03", name="a"))
    with open_ledger() as session:
        requests.close_request(session, "rides.quality.2020-01-03", status="done", note="rejected at the gate")

    decision = decide(rides, publish("2020-01-03", name="b"))

    assert (decision.action, decision.request_id) == ("nothing", None)
    assert "rejected at the gate" in decision.reason


def test_a_refused_challenger_is_not_tried_again_the_next_night(rides):
    enter_champion()
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5)
    request_id = decide(rides, publish("2020-01-03", name="a")).request_id
    with open_ledger() as session:
        fields = {"model_uri": "m", "sha256": "s", "tracking_run": "", "judged_until": "2020-01-03", "quality": 0.5}
        refused = releases.add_release(session, "rides", request_id, **fields, metrics={}, gate={}, compared_with=1)
        releases.judge(session, refused.id, approved=False, note="no better")
        requests.close_request(session, request_id, status="done", note="no better")
    measured("2020-01-04", 0.5)

    decision = decide(rides, publish("2020-01-04", name="b"))

    assert (decision.action, decision.request_id) == ("nothing", None)
    assert "a challenger that came to nothing has seen data until 2020-01-03, 1 days" in decision.reason


def test_an_unknown_publication_is_named(rides):
    with pytest.raises(PublishError, match="nowhere"):
        decide(rides, "nowhere")


def test_a_pause_asks_for_nothing_and_writes_down_what_would_have_been_asked_for(rides):
    enter_champion()
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        measured(day, 0.5)
    with open_ledger() as session:
        pauses.pause(session, pauses.EVERYTHING, by="ann", reason="we migrate")

    decision = decide(rides, publish("2020-01-03", name="a"))

    assert (decision.action, decision.request_id, all_requests()) == ("nothing", None, [])
    assert "by ann: we migrate. Without the pause: a new model would have been asked for. 3 of" in decision.reason
    assert decision.evidence["without_the_pause"]["triggered_by"] == "quality"
    assert decision.evidence["alarming"] == ["2020-01-01", "2020-01-02", "2020-01-03"]

    with open_ledger() as session:
        pauses.resume(session, pauses.EVERYTHING, by="ann")
    assert decide(rides, publish("2020-01-03", name="b")).request_id == "rides.quality.2020-01-03"


def test_a_pause_where_nothing_would_have_been_asked_for_says_that(rides):
    with open_ledger() as session:
        pauses.pause(session, "rides", by="ann", reason="we migrate")

    decision = decide(rides, publish("2020-01-01", rows=99))

    assert "Without the pause: nothing either. There is no champion yet" in decision.reason
