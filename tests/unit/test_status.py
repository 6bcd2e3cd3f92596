import io
import re

import pytest
from rich.console import Console

from include import status
from include.jobs import Wanted
from include.ledger import Decision, Window, jobs, nights, open_ledger, releases, requests
from include.missing_days import note_failure
from include.policy import Compute, Gate, Governor, Rollout

DAY = "2020-02-01"


@pytest.fixture
def history(settings):
    """A champion that served a day, a refused day, and the governor's word."""
    fields = {
        "model_uri": "", "sha256": "", "tracking_run": "", "judged_until": "2020-01-30", "quality": 0.7,
        "metrics": {"auc": 0.7123}, "gate": {"reason": "Passed: auc 0.71"}, "compared_with": None,
    }  # fmt: skip
    report = f"rides/reports/drift/{DAY}-v1.html"
    with open_ledger() as session:
        release = releases.add_release(session, "rides", "rides.first.one", **fields)
        releases.judge(session, release.id, approved=True, note="Passed: auc 0.71")
        releases.finish_promotion(session, release.id, releases.begin_promotion(session, release.id))
        for day, word in ((DAY, "published"), ("2020-02-02", "refused")):
            page = f"rides/reports/validation/{day}/run.html"
            nights.record_partition(
                session,
                "rides",
                day,
                status=word,
                rows=1234,
                labelled=617,
                quarantined=5,
                run_key="run",
                report=page,
                note="",
            )
        window = Window(
            pipeline="rides", day=DAY, version=1, rows=1234, labelled=1200, drifted_share=0.25, quality=0.69,
            measures={"quality": {"auc": 0.6912, "log_loss": 0.5}}, report=report,
        )  # fmt: skip
        nights.record_windows(session, [window])
        decision = Decision(publication_id="p", pipeline="rides", action="nothing", reason="all is well", evidence={})
        nights.record_decision(session, decision)


def text_of(*pipelines) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(status.status_view(pipelines))
    return console.export_text()


def test_an_empty_ledger_says_what_is_not_there_yet(rides):
    text = text_of(rides)

    assert "none yet: the first one is asked for" in text
    assert "has not said anything yet" in text


def test_champion_days_and_decision_are_shown(rides, history):
    text = text_of(rides)

    assert "version 1, serving for 0:00:0" in text
    assert "has seen data until 2020-01-30; on its own held-out days: auc 0.712" in text
    assert re.search(r"nothing \(20.. UTC\): all is well".replace("..", r"[\d: -]+"), text)
    [served] = [line for line in text.splitlines() if DAY in line and "published" in line]
    for word in ("1,234", "50%", "v1", "25%", "0.691"):
        assert word in served
    assert "refused" in text


def test_days_that_did_not_come_in_are_shown_with_the_reason(rides, history):
    note_failure("rides", "run", "clean", ("2020-02-03", "2020-02-03"), "no [space] left", "rides failed")

    text = text_of(rides)

    assert re.search(r"awaited +7 days between 20\d\d-\d\d-\d\d and .*: the newest since 20", text)
    assert re.search(r"ingest failed +2020-02-03: `clean` failed \(20.* UTC\): no \[space\] left", text)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, None),
        ({"seconds": 0.0}, None),
        ({"seconds": 12.3, "device_seconds": 24.6, "training_cost": 0.0}, "made in 12 s"),
        ({"seconds": 3725.0, "device_seconds": 7450.0, "training_cost": 6.208333}, "made in 1:02:05, cost 6.21"),
    ],
)
def test_what_making_the_champion_took_is_told_apart_from_its_quality(rides, history, numbers, said):
    counts = {"train_rows": 900, "holdout_rows": 100, "trained_until": "2020-01-30"}
    with open_ledger() as session:
        releases.get_release(session, "rides.v1").metrics = {"auc": 0.7123, "log_loss": 0.5, **counts, **numbers}

    lines = [line.strip("│ ") for line in text_of(rides).splitlines()]

    [champion] = [number for number, line in enumerate(lines) if line.startswith("champion")]
    assert lines[champion].endswith("on its own held-out days: auc 0.712, log_loss 0.500")
    assert (lines[champion + 1] == said) if said else lines[champion + 1].startswith("open requests")


def test_quality_is_told_in_the_pipeline_s_own_metrics(rides, history):
    policies = {"gate": Gate(metric="brier"), "governor": Governor(metric="log_loss")}

    text = text_of(rides.model_copy(update=policies))

    [heading] = [line for line in text.splitlines() if "drift" in line and "status" in line]
    assert "auc" not in heading
    assert heading.index("brier") < heading.index("log_loss")
    [served] = [line for line in text.splitlines() if DAY in line and "published" in line]
    assert "0.500" in served


def test_the_page_links_to_the_reports(rides, history):
    page = status.status_page()

    assert f'href="/evergreen/reports/rides/reports/validation/{DAY}/run.html"' in page
    assert f'href="/evergreen/reports/rides/reports/drift/{DAY}-v1.html"' in page


def test_what_a_person_wrote_is_text_and_not_markup(rides, settings):
    with open_ledger() as session:
        requests.file_request(session, "rides", reason="see [/] <script>", triggered_by="hand", key="k", detail={})

    assert "see [/] <script>" in text_of(rides)
    assert "<script>" not in status.status_page()


def test_why_a_release_was_asked_for_what_the_gate_said_and_what_came_later_stand_apart(rides, history):
    with open_ledger() as session:
        requests.file_request(session, "rides", reason="a look", triggered_by="first", key="one", detail={})
        releases.get_release(session, "rides.v1").note = "it felt wrong"

    [line] = [line for line in text_of(rides).splitlines() if "v1" in line and "champion" in line]

    assert re.search(r"first: a look +Passed: auc 0\.71 +it felt wrong", line)


def test_since_then_is_no_column_where_nothing_has_happened(rides, history):
    assert "since then" not in text_of(rides)


def test_a_release_that_is_tried_says_its_share_and_how_many_steps_there_are(rides, history):
    with open_ledger() as session:
        releases.add_release(
            session, "rides", "rides.hand.two", model_uri="", sha256="", tracking_run="", judged_until="2020-01-30",
            quality=0.7, metrics={}, gate={}, compared_with=1,
        )  # fmt: skip
        releases.judge(session, "rides.v2", approved=True, note="Passed")
        fence = releases.begin_promotion(session, "rides.v2")
        releases.keep_rollout(session, "rides.v2", step=2, fence=fence, began_at="2020-02-03T10:00:00+00:00")

    text = text_of(rides.model_copy(update={"rollout": Rollout(shadow="live", steps=[5, 25, 100])}))

    assert "tried beside it since 2020-02-03 10:00 UTC and answers 25% of the requests (step 3 of 4)" in text


def test_a_yaml_that_cannot_be_read_is_shown_beside_the_others(rides, settings):
    (settings.pipelines / "typo.yaml").write_text("owner: [")

    page = status.status_page()

    assert "typo: cannot be read" in page
    assert "A tiny one." in page


def ordered(**changes) -> Wanted:
    asked = {"platform": "aws", "accelerator": "cuda", "price_per_hour": 3.6, "max_seconds": 3600}
    return Wanted("rides", "rides.hand.one", **{**asked, **changes})


def test_a_job_that_is_under_way_is_shown_with_its_estimate(rides, settings):
    with open_ledger() as session:
        attempt = jobs.next_attempt(session, ordered())
        jobs.next_attempt(session, Wanted("others", "others.hand.one", "aws", "cuda", 3.6, 3600))

    [line] = [line for line in text_of(rides).splitlines() if "training" in line]

    assert f"attempt 1 on aws ({attempt.name}) since" in line
    assert "at the latest, estimated at 3.60" in line


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (None, "1.50 in the last 30 days"),
        (200.0, "1.50 in the last 30 days, of 200 (`compute.budget_per_month`)"),
    ],
)
def test_what_the_last_30_days_have_cost_is_shown_beside_the_budget(rides, settings, budget, said):
    with open_ledger() as session:
        jobs.end(session, jobs.next_attempt(session, ordered()).name, "failed", reason="", seconds=500.0)
        jobs.end(session, jobs.next_attempt(session, ordered()).name, "succeeded", reason="", seconds=1000.0)

    text = text_of(rides.model_copy(update={"compute": Compute(budget_per_month=budget)}))

    assert [line.strip("│ ").removeprefix("cost").strip() for line in text.splitlines() if "cost " in line] == [said]


def test_each_release_is_shown_with_what_it_cost(rides, history):
    assert " cost " not in text_of(rides)
    with open_ledger() as session:
        releases.get_release(session, "rides.v1").metrics = {"auc": 0.7, "training_cost": 6.208333}

    [heading] = [line for line in text_of(rides).splitlines() if "asked for because" in line]
    [release] = [line for line in text_of(rides).splitlines() if "rides.first.one" in line]

    assert heading.index("cost") == release.index("6.21")
