import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from rich.console import Console

from include.ledger import Decision, Window, nights, open_ledger, pauses, releases, requests
from include.missing_days import MissingDays
from include.why import Facts, cooldown_until, explain
from include.why_view import why_view

AT = datetime(2020, 2, 1, 12, 0, tzinfo=UTC)
CHAMPION = SimpleNamespace(
    id="rides.v3", version=3, request_id="rides.quality.x", judged_until="2020-01-25", serving_at=AT,
    metrics={"auc": 0.7}, note="Passed: auc 0.70 against 0.65", status="champion",
    gate={"reason": "Passed: auc 0.70 against 0.65"},
)  # fmt: skip
DECISION = SimpleNamespace(action="nothing", reason="The newest window is calm.", at=AT)


def window(day, **changes):
    numbers = {"rows": 200, "labelled": 200, "quality": 0.69, "drifted_share": 0.1, "measures": {}}
    return SimpleNamespace(day=day, **{**numbers, **changes})


def release(version, status, note, serving_at=None):
    return SimpleNamespace(
        id=f"rides.v{version}", version=version, status=status, note=note, serving_at=serving_at, gate={}
    )


@pytest.fixture
def ask(rides):
    def answer(**changes):
        facts = {
            "pipeline": rides, "champion": CHAMPION, "asked": SimpleNamespace(reason="it fell"),
            "windows": [window("2020-02-10")], "decisions": [DECISION], "requests": [], "releases": [CHAMPION],
            "pauses": [], "held": None, "refused": [],
        }  # fmt: skip
        return explain(Facts(**{**facts, **changes}))

    return answer


def test_where_all_is_well_the_governors_word_is_the_answer(ask):
    answer = ask()

    assert answer.no_retrain == ["The governor's last word (2020-02-01 12:00): nothing. The newest window is calm."]
    assert answer.to_do == ["A new model at once: start rides__train by hand."]
    assert answer.this_model == [
        "Version 3 serves since 2020-02-01 12:00; rides.quality.x asked for it.",
        "Asked because: it fell",
        "The gate: Passed: auc 0.70 against 0.65",
    ]


@pytest.mark.parametrize(
    ("changes", "reason", "advice"),
    [
        (
            {"held": SimpleNamespace(pipeline="rides", by="ann", reason="we migrate", at=AT)},
            "Paused since 2020-02-01 12:00 UTC by ann: we migrate.",
            "evergreen resume rides",
        ),
        (
            {"requests": [SimpleNamespace(id="rides.drift.y", outcome=None, status="open", at=AT, note="")]},
            "rides.drift.y has asked for a new model and waits",
            "is rides__train paused in Airflow?",
        ),
        (
            {
                "requests": [
                    SimpleNamespace(id="r", outcome=None, status="claimed", claimed_by="run-1", claimed_at=AT, note="")
                ]
            },
            "being worked on by run run-1",
            "Follow that run",
        ),
        (
            {"releases": [release(4, "approved", "")]},
            "rides.v4 is trained and approved, not yet served",
            "rides__deploy by hand with version 4",
        ),
        (
            {"requests": [SimpleNamespace(id="r", outcome=None, status="failed", note="See its log.")]},
            "r, failed: See its log.",
            "mend the cause and clear it",
        ),
        (
            {"releases": [release(4, "rejected", "no gain")]},
            "rides.v4 was rejected: no gain",
            "rides__train by hand with other settings",
        ),
        (
            {
                "releases": [
                    release(5, "rolled_back", "it felt wrong", serving_at=AT),
                    release(4, "rejected", "no gain"),
                ]
            },
            "rides.v5 was rolled back by hand: it felt wrong",
            "evergreen rollback rides --to 5 --reason WHY",
        ),
        (
            {"releases": [release(6, "rolled_back", "too soon"), release(5, "rolled_back", "it felt wrong")]},
            "rides.v6 was rolled back by hand while it was tried: too soon",
            "rides__train by hand with other settings",
        ),
        (
            {"windows": [window("2020-01-28")]},
            "2020-02-01 is the first day that can ask for another, the newest served day is 2020-01-28",
            "rides__train",
        ),
        ({"windows": []}, "it has not served a day yet", "rides__train"),
        ({"decisions": []}, "The governor has not been asked yet", "rides__monitor"),
        (
            {"windows": [window("2020-02-10", labelled=10, quality=None)]},
            "10 of 200 rows have a label, 50 are needed",
            "Deliver the missing labels",
        ),
        (
            {"refused": [SimpleNamespace(day="2020-02-09", note="too few rows")]},
            "2020-02-09 was refused and is not learned from: too few rows",
            "Deliver 2020-02-09 again",
        ),
        (
            {"missing": [MissingDays("failed", "2020-02-09", "`land` failed: no such file", "Clear `land`.")]},
            "Ingest failed, 2020-02-09: `land` failed: no such file",
            "Clear `land`.",
        ),
    ],
)
def test_each_cause_is_named_with_what_can_be_done(ask, changes, reason, advice):
    answer = ask(**changes)

    assert any(reason in line for line in answer.no_retrain), answer.no_retrain
    assert any(advice in line for line in answer.to_do), answer.to_do


def test_all_newer_models_that_came_to_nothing_are_named_and_no_older_ones(ask):
    ended = [
        release(6, "rolled_back", "too soon"),
        release(5, "rolled_back", "it felt wrong", serving_at=AT),
        release(4, "rejected", "no gain"),
        CHAMPION,
        release(2, "failed", "long ago"),
    ]

    told = ask(releases=ended).no_retrain

    assert [line.split()[0] for line in told[:-1]] == ["rides.v6", "rides.v5", "rides.v4"]


def test_a_model_that_was_put_back_says_so_beside_the_gate_s_words(ask):
    put_back = SimpleNamespace(**{**vars(CHAMPION), "note": "Put back by hand in place of v5: it felt wrong"})

    told = ask(champion=put_back).this_model

    assert told[-2:] == [
        "The gate: Passed: auc 0.70 against 0.65",
        "Since then: Put back by hand in place of v5: it felt wrong",
    ]


def test_a_pause_is_the_first_reason(ask):
    held = SimpleNamespace(pipeline=pauses.EVERYTHING, by="ann", reason="we migrate", at=AT)
    answer = ask(held=held, requests=[SimpleNamespace(id="r", outcome=None, status="open", at=AT, note="")])

    assert answer.no_retrain[0].startswith("Everything is paused")
    assert answer.to_do[0] == "End the pause: evergreen resume."


def test_the_cooldown_ends_on_the_day_the_governor_would_listen_again(rides):
    facts = Facts(rides, CHAMPION, None, [], [], [], [], [], None, [])

    assert cooldown_until(facts) == "2020-02-01"
    assert rides.governor.cooldown_days == 7
    assert cooldown_until(replace(facts, last_tried="2020-01-30")) == "2020-02-06"


def test_the_ledgers_rows_are_shown(rides):
    fields = {"model_uri": "", "sha256": "", "tracking_run": "", "judged_until": "2020-01-25", "quality": 0.7}
    with open_ledger() as session:
        requests.file_request(session, "rides", reason="a [b] first", triggered_by="first", key="model", detail={})
        requests.close_request(session, "rides.first.model", status="done", note="rides.v1: Passed")
        release = releases.add_release(
            session, "rides", "rides.first.model", **fields, metrics={"auc": 0.7}, gate={}, compared_with=None
        )
        releases.judge(session, release.id, approved=True, note="Passed: the first")
        releases.finish_promotion(session, release.id, releases.begin_promotion(session, release.id))
        numbers = {"rows": 200, "labelled": 200, "drifted_share": 0.5, "measures": {}, "report": ""}
        nights.record_windows(
            session,
            [
                Window(pipeline="rides", day="2020-02-01", version=1, quality=0.71, **numbers),
                Window(pipeline="rides", day="2020-02-02", version=1, quality=0.5, **numbers),
            ],
        )
        nights.record_decision(
            session,
            Decision(publication_id="p", pipeline="rides", action="nothing", reason="Not yet: it fell", evidence={}),
        )
        pauses.pause(session, "rides", by="ann", reason="we migrate")
    console = Console(width=200, record=True, file=io.StringIO())

    console.print(why_view(rides))

    text = console.export_text()
    lines = {line.split()[1]: line for line in text.splitlines() if len(line.split()) > 1}
    assert "0.010 better" in lines["2020-02-01"]
    assert "calm" in lines["2020-02-01"]
    assert "0.200 worse" in lines["2020-02-02"]
    assert "quality" in lines["2020-02-02"]
    assert "Asked because: a [b] first" in text
    assert "Not yet: it fell" in text
    assert "we migrate" in text


def test_a_long_id_is_broken_and_nothing_of_it_cut_off(rides):
    key = "manual__2020-02-01T08:15:31.123456+00:00_" + "0123456789" * 12
    with open_ledger() as session:
        request = requests.file_request(session, "rides", reason="a", triggered_by="hand", key=key, detail={})
        requests.close_request(session, request.id, status="failed", note="It did not end well. " * 20)
    console = Console(width=100, record=True, file=io.StringIO())

    console.print(why_view(rides))

    _, rows = console.export_text().split("filed")
    assert "".join(re.findall(r"^│ +(\S+)", rows, flags=re.MULTILINE)).startswith(f"rides.hand.{key}")


def test_what_happened_to_a_release_stands_beside_the_gate_s_words(rides):
    fields = {"model_uri": "", "sha256": "", "tracking_run": "", "judged_until": "2020-01-25", "quality": 0.7}
    with open_ledger() as session:
        made = releases.add_release(
            session, "rides", "r", **fields, metrics={}, gate={"reason": "Passed: the first"}, compared_with=None
        )
        made.note = "it felt wrong"
    console = Console(width=200, record=True, file=io.StringIO())

    console.print(why_view(rides))

    text = console.export_text()
    [heading] = [line for line in text.splitlines() if "the gate said" in line]
    [line] = [line for line in text.splitlines() if "Passed: the first" in line]
    assert heading.index("the gate said") == line.index("Passed: the first")
    assert heading.index("since then") == line.index("it felt wrong")


def test_an_empty_ledger_is_answered_too(rides):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(why_view(rides))

    assert "There is no model yet." in console.export_text()


def test_a_champion_that_was_not_judged_by_todays_metric_is_answered_too(rides):
    fields = {"model_uri": "", "sha256": "", "tracking_run": "", "judged_until": "2020-01-25", "quality": 0.7}
    numbers = {"rows": 200, "labelled": 200, "drifted_share": 0.5, "quality": 0.5, "measures": {}, "report": ""}
    with open_ledger() as session:
        release = releases.add_release(session, "rides", "r", **fields, metrics={}, gate={}, compared_with=None)
        releases.judge(session, release.id, approved=True, note="")
        releases.finish_promotion(session, release.id, releases.begin_promotion(session, release.id))
        nights.record_windows(session, [Window(pipeline="rides", day="2020-02-01", version=1, **numbers)])
    console = Console(width=200, record=True, file=io.StringIO())

    console.print(why_view(rides))

    [line] = [each for each in console.export_text().splitlines() if "2020-02-01" in each and "200" in each]
    assert "unknown" in line


def test_what_the_last_repairs_promised_and_gained_is_told(ask):
    gained = {"gain": 0.021, "low": -0.004, "high": 0.05, "promised": 0.03, "days": ["2020-01-26", "2020-02-08"]}
    repair = SimpleNamespace(
        id="rides.quality.x",
        outcome=gained,
        status="done",
        at=AT,
        note="",
        repair="recalibrate",
        triggered_by="quality",
    )

    told = " ".join(ask(requests=[repair]).this_model)

    assert (
        "rides.quality.x (recalibrate) promised +3.0% and gained +2.1% of the loss on 2020-01-26 to 2020-02-08" in told
    )
    assert "[-0.4%, +5.0%]" in told


def test_a_repair_whose_gain_cannot_be_known_yet_says_when(ask):
    told = ask(judged_after={"rides.quality.x": 11}).this_model

    assert any("known once 14 days after it have their labels; 11 have so far." in each for each in told)
