from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.learning.metrics import METRICS
from include.monitoring.alarms import alarm_of
from include.monitoring.governor import decide
from include.monitoring.situation import Champion, Served, Situation
from include.policy import Governor
from include.repairs.estimate import Estimate

POLICY = Governor(
    metric="auc", max_quality_drop=0.03, max_drifted_share=0.5, windows=5, alarming=3, min_rows=300, cooldown_days=7
)
CHAMPION = Champion(version=2, quality=0.70, judged_until="2013-02-28")


def window(day, quality=0.70, *, rows=900, labelled=890, share=0.2, drifted=()):
    return Served(f"2013-07-{day:02}", rows, labelled, quality, share, drifted)


BAD = [window(day, 0.60) for day in (8, 9, 10)]


def situation(*windows, **changes):
    known = Situation(
        champion=CHAMPION,
        windows=windows,
        served_days=(windows[-1].day,) if windows else (),
        unfinished=(),
        published_rows=50_000,
        needed_rows=1_000,
        newest_day="2013-07-10",
    )
    return replace(known, **changes)


def test_the_first_model_is_asked_for_once_there_are_enough_rows():
    judged = decide(situation(champion=None), POLICY)

    assert (judged.action, judged.triggered_by) == ("retrain", "first")
    assert "50000 published rows" in judged.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"champion": None, "published_rows": 999}, ["999", "1000"]),
        ({"champion": None, "unfinished": ("rides.first.model",)}, ["rides.first.model", "on its way"]),
        ({"served_days": ()}, ["history"]),
        ({"unfinished": ("rides.hand.x",)}, ["rides.hand.x", "on its way"]),
        ({"windows": ()}, ["Version 2 has not served"]),
        ({"champion": replace(CHAMPION, judged_until="2013-07-04")}, ["Cooldown", "2013-07-04", "6 days", "7"]),
        ({"windows": (*BAD, window(11, 0.69))}, ["newest window is calm", "0.6900", "3 of the newest 4"]),
        ({"windows": (*BAD, window(11, None, rows=10, labelled=10))}, ["unknown", "10 rows", "300"]),
        ({"windows": tuple(BAD[:2])}, ["Not yet", "2 of the newest 2", "3 of 5"]),
        (
            {"windows": (BAD[0], BAD[1], window(10), window(11), window(12), window(13), window(14, 0.5))},
            ["1 of the newest 5"],
        ),
    ],
)
def test_nothing_is_done_and_the_reason_says_why_with_numbers(changes, words):
    judged = decide(replace(situation(*BAD), **changes), POLICY)

    assert judged.action == "nothing"
    assert [word for word in words if word not in judged.reason] == []


def test_three_bad_nights_of_five_ask_for_a_new_model_by_name_and_number():
    drifted = (("temp", 1.9), ("dewp", 1.5), ("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6))

    judged = decide(situation(*BAD[:2], window(10), window(11), window(12, 0.55, drifted=drifted)), POLICY)

    assert (judged.action, judged.triggered_by) == ("retrain", "quality")
    for words in ("3 of the newest 5", "auc 0.5500 on 2013-07-12", "0.1500 worse", "0.7000", "temp 1.90", "1 more"):
        assert words in judged.reason
    assert judged.evidence["alarming"] == ["2013-07-08", "2013-07-09", "2013-07-12"]


def test_without_labels_drift_is_what_alarms():
    windows = [window(day, None, labelled=0, share=0.6) for day in (8, 9, 10)]

    judged = decide(situation(*windows), POLICY)

    assert (judged.action, judged.triggered_by) == ("retrain", "drift")
    assert "60% of the columns" in judged.reason


def test_with_labels_drift_alone_does_not_alarm():
    judged = decide(situation(*[window(day, 0.70, share=1.0) for day in (8, 9, 10)]), POLICY)

    assert judged.action == "nothing"


def test_windows_that_say_nothing_count_neither_way():
    silent = window(10, None, rows=20, labelled=20)

    judged = decide(situation(BAD[0], BAD[1], silent, silent, silent, silent, window(14, 0.5)), POLICY)

    assert judged.action == "retrain"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"quality": 0.66}, "quality"),
        ({"quality": 0.68}, "calm"),
        ({"quality": 0.80}, "calm"),
        ({"quality": None}, "unknown"),  # a single class
        ({"labelled": 299, "drifted_share": 0.5}, "drift"),
        ({"labelled": 299, "drifted_share": 0.49}, "calm"),
        ({"labelled": 299, "drifted_share": None}, "unknown"),
        ({"labelled": 299, "rows": 299, "drifted_share": 1.0}, "unknown"),
    ],
)
def test_a_window_is_alarming_calm_or_unknown(changes, expected):
    assert alarm_of(replace(window(8), **changes), CHAMPION, POLICY) == expected


def test_a_loss_alarms_when_it_rises():
    policy = POLICY.model_copy(update={"metric": "log_loss"})

    assert alarm_of(window(8, 0.75), CHAMPION, policy) == "quality"
    assert alarm_of(window(8, 0.60), CHAMPION, policy) == "calm"


def test_a_drop_is_in_the_metric_s_own_unit():
    policy = POLICY.model_copy(update={"metric": "rmse", "max_quality_drop": 4.0})
    champion = replace(CHAMPION, quality=20.0)

    assert alarm_of(window(8, 24.5), champion, policy) == "quality"
    assert alarm_of(window(8, 23.5), champion, policy) == "calm"
    assert alarm_of(window(8, 2.0), champion, policy) == "calm"


def test_a_champion_that_was_never_measured_so_is_no_yardstick():
    judged = decide(situation(window(8), champion=replace(CHAMPION, quality=None)), POLICY)

    assert judged.action == "nothing"
    assert "was not judged by 'auc' when it was released" in judged.reason


QUALITIES = st.none() | st.floats(0, 1) | st.sampled_from([0.2, 0.6, 0.9])  # both metrics alarm often enough
WINDOWS = st.lists(
    st.builds(
        lambda quality, rows, labelled, share: (quality, rows, min(rows, labelled), share),
        QUALITIES,
        st.integers(0, 1000),
        st.integers(0, 1000),
        st.none() | st.floats(0, 1),
    ),
    min_size=1,
    max_size=12,
).map(lambda rows: tuple(window(day + 8, q, rows=n, labelled=m, share=s) for day, (q, n, m, s) in enumerate(rows)))
POLICIES = st.integers(1, 6).flatmap(
    lambda n: st.builds(
        lambda k, min_rows, days, metric: POLICY.model_copy(
            update={"windows": n, "alarming": k, "min_rows": min_rows, "cooldown_days": days, "metric": metric}
        ),
        st.integers(1, n),
        st.integers(1, 600),
        st.integers(0, 200),
        st.sampled_from(sorted(METRICS)),
    )
)


def is_alarming(found, policy):
    return alarm_of(found, CHAMPION, policy) in {"quality", "drift"}


@given(WINDOWS, POLICIES)
def test_it_fires_only_with_a_served_alarming_newest_window_and_k_alarming(windows, policy):
    judged = decide(situation(*windows), policy)

    assert judged.reason
    if judged.action == "retrain":
        assert is_alarming(windows[-1], policy)
        assert sum(is_alarming(found, policy) for found in windows) >= policy.alarming
        assert len(judged.evidence["windows"]) <= policy.windows


@given(WINDOWS, POLICIES)
def test_history_that_nobody_served_never_fires(windows, policy):
    assert decide(situation(*windows, served_days=()), policy).action == "nothing"


@given(WINDOWS, POLICIES, st.data())
def test_more_alarming_windows_never_turn_a_retraining_into_nothing(windows, policy, data):
    position = data.draw(st.integers(0, len(windows) - 1))
    worse = replace(windows[position], rows=1000, labelled=0, drifted_share=1.0)

    changed = (*windows[:position], worse, *windows[position + 1 :])

    actions = [decide(situation(*found), policy).action for found in (windows, changed)]
    assert actions in (["nothing", "nothing"], ["nothing", "retrain"], ["retrain", "retrain"])


@given(WINDOWS, POLICIES)
def test_nothing_fires_while_a_request_is_unfinished(windows, policy):
    assert decide(situation(*windows, unfinished=("rides.quality.2013-07-08",)), policy).action == "nothing"


def promise(action, share=0.05, *, toll=0.01, version=None, low=0.01):
    return Estimate(action, version, share, low, share + 0.02, 0.48, 0.5, 14, 12_000, toll)


CALM = [window(day, 0.69) for day in (8, 9, 10)]
LADDER = (promise("recalibrate", 0.03, toll=0.005), promise("reinstate", 0.01, toll=0.03, version=1))


def test_the_repair_that_promises_most_is_asked_for_with_all_promises_in_the_reason():
    judged = decide(situation(*CALM, estimates=(*LADDER, promise("retrain", 0.08, toll=0.03))), POLICY)

    assert (judged.action, judged.triggered_by) == ("retrain", "quality")
    for words in (
        "To retrain promises most",
        "recalibrate +3.0%",
        "reinstate v1 +1.0%",
        "retrain +8.0%",
        "14 labelled",
    ):
        assert words in judged.reason
    assert [each["pays"] for each in judged.evidence["repairs"]] == [True, False, True]


def test_a_former_champion_is_put_back_by_its_version():
    judged = decide(situation(*CALM, estimates=(promise("reinstate", 0.09, version=3),)), POLICY)

    assert (judged.action, judged.version) == ("reinstate", 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"windows": tuple(CALM[:2])}, ["Not yet", "2 of at least 3 telling windows"]),
        ({"champion": replace(CHAMPION, judged_until="2013-07-09", trained_until="2013-02-28")}, ["Rest", "1 days"]),
        ({"last_repaired": "2013-07-08"}, ["Rest", "2013-07-08", "`rest_days`"]),
        ({"estimates": (promise("recalibrate", 0.004, toll=0.005),)}, ["No repair pays", "recalibrate +0.4%"]),
        ({"failures": 3}, ["3 trainings in a row", "a person"]),
        ({"served_days": ()}, ["history"]),
        ({"paused": "Paused by Ann"}, ["Paused by Ann", "it would have been to recalibrate"]),
    ],
)
def test_nothing_is_repaired_and_the_reason_says_why(changes, words):
    judged = decide(replace(situation(*CALM, estimates=LADDER), **changes), POLICY)

    assert judged.action == "nothing"
    assert [word for word in words if word not in judged.reason] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"last_tried": "2013-07-05"}, ["Cooldown", "came to nothing", "2013-07-05"]),
        ({"trained_on": ("2013-07-04", "2013-07-06")}, ["2 trainings", "max_trainings_per_week"]),
        ({"spent_hours": 1.9, "hours_each": 0.2}, ["budget", "1.90 h", "monthly_hours"]),
    ],
)
def test_what_forbids_a_training_leaves_the_cheap_repairs(changes, words):
    policy = POLICY.model_copy(update={"monthly_hours": 2.0})
    dear = promise("retrain", 0.08, toll=0.03)
    alone = decide(situation(*CALM, estimates=(dear,), **changes), policy)
    beside = decide(situation(*CALM, estimates=(*LADDER, dear), **changes), policy)

    assert alone.action == "nothing"
    assert [word for word in words if word not in alone.reason] == []
    assert beside.action == "recalibrate"


def test_a_limit_that_was_reached_is_named_so_that_people_are_told():
    dear = promise("retrain", 0.08, toll=0.03)
    policy = POLICY.model_copy(update={"monthly_hours": 2.0})

    assert decide(situation(*CALM, estimates=LADDER, failures=3), POLICY).limit == "stop_after"
    assert decide(situation(*CALM, estimates=(dear,), spent_hours=2.1), policy).limit == "monthly_hours"
    assert decide(situation(*CALM, estimates=(dear,), spent_hours=1.0), policy).limit == ""
    # Without estimates the alarm decides: nobody is told while there is none.
    assert decide(situation(*BAD, spent_hours=2.1), policy).limit == "monthly_hours"
    assert decide(situation(*CALM, spent_hours=2.1), policy).limit == ""


@pytest.mark.parametrize(
    ("changes", "words", "limit"),
    [
        ({"failures": 3}, ["3 trainings in a row", "a person"], "stop_after"),
        ({"spent_hours": 1.9, "hours_each": 0.2}, ["no champion", "1.90 h", "monthly_hours"], "monthly_hours"),
        ({"trained_on": ("2013-07-04", "2013-07-06")}, ["no champion", "2 trainings", "max_trainings_per_week"], ""),
        ({"last_tried": "2013-07-05"}, ["no champion", "Cooldown", "came to nothing", "2013-07-05, 5 days"], ""),
    ],
)
def test_first_models_that_come_to_nothing_are_limited_as_all_trainings_are(changes, words, limit):
    policy = POLICY.model_copy(update={"monthly_hours": 2.0})

    judged = decide(situation(champion=None, **changes), policy)

    assert (judged.action, judged.limit) == ("nothing", limit)
    assert [word for word in words if word not in judged.reason] == []


DAYS = st.integers(1, 30).map(lambda day: f"2013-06-{day:02}")


@given(
    st.sampled_from([None, CHAMPION]),
    st.integers(0, 5),
    st.lists(DAYS, max_size=4).map(tuple),
    st.floats(0, 3),
    st.just("") | DAYS,
    st.integers(1, 31),
)
def test_no_training_is_asked_for_beyond_a_limit_with_a_champion_or_without(  # noqa: PLR0913  a history
    champion, failures, trained_on, hours, tried, day
):
    policy = POLICY.model_copy(update={"monthly_hours": 2.0})
    newest = f"2013-07-{day:02}"
    bad = [replace(BAD[0], day=newest)] * 3
    history = {"failures": failures, "trained_on": trained_on, "spent_hours": hours, "last_tried": tried}

    judged = decide(situation(*bad, champion=champion, newest_day=newest, **history), policy)

    def age(other):
        return (date.fromisoformat(newest) - date.fromisoformat(other)).days

    is_cool = not tried or age(tried) >= policy.cooldown_days
    is_rare = sum(age(each) < 7 for each in trained_on) < policy.max_trainings_per_week
    is_free = is_cool and is_rare and failures < policy.stop_after and hours <= policy.monthly_hours
    assert judged.action == ("retrain" if is_free else "nothing")


def test_labels_that_come_late_are_enough_for_a_repair():
    unlabelled = [window(day, None, labelled=0, share=0.0) for day in (11, 12)]

    judged = decide(situation(*BAD, *unlabelled, estimates=(promise("retrain", 0.08, toll=0.03),)), POLICY)

    assert (judged.action, judged.triggered_by) == ("retrain", "quality")


def test_an_alarm_that_no_repair_would_help_against_asks_for_nothing():
    judged = decide(situation(*BAD, estimates=(promise("recalibrate", 0.001, toll=0.005),)), POLICY)

    assert judged.action == "nothing"
    assert "No repair pays" in judged.reason
    assert "3 of the newest 3" in judged.reason


def test_without_labels_drift_still_asks_for_a_training():
    windows = [window(day, None, labelled=0, share=0.6) for day in (8, 9, 10)]

    judged = decide(situation(*windows, estimates=(promise("recalibrate", 0.001, toll=0.005),)), POLICY)

    assert (judged.action, judged.triggered_by) == ("retrain", "drift")


def test_a_champion_that_is_old_enough_is_refreshed_though_nothing_is_wrong():
    policy = POLICY.model_copy(update={"refresh_days": 90})
    nothing_pays = (promise("recalibrate", 0.001, toll=0.005),)

    judged = decide(situation(*CALM, estimates=nothing_pays), policy)
    young = decide(
        situation(*CALM, estimates=nothing_pays, champion=replace(CHAMPION, judged_until="2013-05-01")), policy
    )

    assert (judged.action, judged.triggered_by) == ("retrain", "schedule")
    assert "132 days" in judged.reason
    assert young.action == "nothing"
