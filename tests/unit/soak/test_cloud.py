from collections import Counter

import pytest

from soak.cloud import PLATFORMS
from soak.cloud_books import judged
from soak.cloud_plan import ENDS, plan
from soak.cloud_worker import points_of


def test_a_plan_is_the_same_for_the_same_seed():
    assert plan("aws", 200, seed=1) == plan("aws", 200, seed=1)
    assert plan("aws", 200, seed=1) != plan("aws", 200, seed=2)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_plan_visits_every_point_in_its_order_and_has_every_end(platform):
    trials = plan(platform, 200, seed=1)

    points = Counter(crash.point for trial in trials for crash in trial.crashes if crash.point)
    assert set(points) == set(points_of(platform))
    assert min(points.values()) >= 4
    assert {trial.end for trial in trials} == set(ENDS)
    for trial in trials:
        named = [points_of(platform).index(crash.point) for crash in trial.crashes if crash.point]
        assert named == sorted(named), "a try that dies late leaves nothing for one that dies early"


def test_a_network_fails_only_where_there_is_one():
    kinds = {name: {crash.kind for trial in plan(name, 200, 1) for crash in trial.crashes} for name in PLATFORMS}

    assert kinds["local"] == {"task", "supervisor", "killed"}
    assert kinds["aws"] == kinds["kubernetes"] == {"task", "supervisor", "killed", "network"}


@pytest.mark.parametrize(
    ("spans", "needless"),
    [
        ([("one", 0, 5, True)], []),
        ([("one", 0, 5, False), ("two", 6, 9, True)], []),
        ([("one", 0, 5, False), ("two", 4, 9, True)], ["two"]),
        ([("one", 0, None, False), ("two", 4, 9, True)], ["two"]),
        ([("two", 6, 9, False), ("one", 0, 5, True)], ["two"]),
    ],
)
def test_a_job_is_needless_beside_another_one_and_after_a_model(spans, needless):
    assert [run.name for run in judged(spans) if run.is_needless] == needless
