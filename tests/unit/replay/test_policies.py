import pytest

from include.errors import ConfigError
from include.replay.changes import with_changes
from include.replay.policies import policy_of


def test_a_calendar_is_named_by_its_days(rides):
    assert policy_of("weekly", rides).every == 7
    assert policy_of("nightly", rides).every == 1
    assert (policy_of("every:21", rides, offset=25).every, policy_of("every:21", rides, offset=25).offset) == (21, 4)
    assert policy_of("static", rides).every is None


def test_an_ablated_governor_may_do_only_what_its_name_says(rides):
    repairs = policy_of("governor:retrain", rides).governor.repairs

    assert repairs.retrain == rides.governor.repairs.retrain
    assert (repairs.recalibrate, repairs.reinstate) == (None, None)
    assert policy_of("governor", rides).governor == rides.governor


@pytest.mark.parametrize("name", ["every:0", "every:x", "monthly", "governor:pray"])
def test_an_unknown_policy_is_answered_with_those_there_are(rides, name):
    with pytest.raises(ConfigError, match="Known: governor"):
        policy_of(name, rides)


@pytest.mark.parametrize("name", ["governor:", "governor:retrain+"])
def test_a_governor_that_names_no_repair_is_answered_with_the_repairs(rides, name):
    with pytest.raises(
        ConfigError, match=r"no repair is called ''\. Name one or several of recalibrate, reinstate, retr"
    ):
        policy_of(name, rides)


def test_a_key_of_the_yaml_can_be_set(rides):
    changed = with_changes(rides, ["governor.repairs.retrain=0.02", "gate.metric=log_loss", "governor.refresh_days=42"])

    assert changed.governor.repairs.retrain == 0.02
    assert (changed.gate.metric, changed.governor.refresh_days) == ("log_loss", 42)
    assert with_changes(rides, []) == rides


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("governor.repairs.retrian=0.02", "Did you mean 'retrain'"),
        ("governor.repairs", "no such key"),
        ("governor.repairs.retrain=lots", "governor.repairs.retrain"),
        ("governor.alarming=9", "alarming"),
    ],
)
def test_a_key_or_value_that_cannot_be_is_refused_by_name(rides, change, words):
    with pytest.raises(ConfigError, match=words):
        with_changes(rides, [change])
