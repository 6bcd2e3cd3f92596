import pytest

from include.errors import ConfigError
from include.onboarding.target import plain, quoted, target_of
from tests.unit.onboarding.conftest import DAYS, profile_of


def target(values, name="y"):
    return target_of(profile_of({DAYS[0]: {name: values, "other": [1] * len(values)}}).columns[name])


@pytest.mark.parametrize(
    ("values", "task", "derive"),
    [
        (["true", "false", "true"], "binary", {}),
        ([0, 1, 1], "binary", {}),
        (["0.0", "1.0", "1.0"], "binary", {}),
        (["Yes", "No", "No"], "binary", {"y_is_Yes": "y = 'Yes'"}),
        (["good", "good", "bad"], "binary", {"y_is_bad": "y = 'bad'"}),
        ([1, 2, 1], "binary", {"y_is_1": "y = 1"}),
        (["a", "b", "c"], "multiclass", {}),
        ([1, 2, 3], "multiclass", {}),
        (list(range(50)), "regression", {}),
        ([0.5, 1.5, 2.5], "regression", {}),
    ],
)
def test_the_task_follows_from_the_targets_values(values, task, derive):
    found = target(values)

    assert (found.task, found.derive) == (task, derive)
    assert found.column == next(iter(derive), "y")


def test_a_name_with_spaces_is_quoted_and_its_column_is_not():
    found = target(["yes", "no", "no"], "Has left?")

    assert found.derive == {"Has_left_is_yes": "`Has left?` = 'yes'"}
    assert found.rules == {"Has_left_is_known": "`Has left?` in ('yes', 'no')"}
    assert (plain("3rd %"), quoted("a`b")) == ("_3rd", "`a``b`")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a", "a"], "nothing to learn"),
        (["2024-01-01", "2024-01-02"], "is a date"),
        ([f"name {number}" for number in range(101)], "too many for classes"),
    ],
)
def test_what_cannot_be_learned_is_refused_with_a_way_out(values, said):
    with pytest.raises(ConfigError, match=said):
        target(values)
