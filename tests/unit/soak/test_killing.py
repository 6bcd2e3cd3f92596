from collections import Counter

from soak.killing import MODEL, MOMENTS, NIGHT, plan

WHOLE = sum(len(moments) for moments in MOMENTS.values()) * sum(map(len, (*NIGHT.values(), *MODEL.values())))


def kills_of(trials):
    return [kill for trial in trials for kill in trial]


def test_a_plan_has_as_many_kills_as_asked_for_and_is_the_same_for_the_same_seed():
    assert len(kills_of(plan(7, seed=1))) == 7
    assert plan(30, seed=3) == plan(30, seed=3)
    assert plan(30, seed=3) != plan(30, seed=4)


def test_a_plan_as_long_as_the_matrix_meets_every_cell_once():
    cells = Counter((kill.stage, kill.task, kill.target, kill.moment) for kill in kills_of(plan(WHOLE, seed=1)))

    assert len(cells) == WHOLE
    assert set(cells.values()) == {1}


def test_the_kills_of_a_trial_are_of_one_flow_and_in_its_order():
    for trial in plan(60, seed=2):
        flow = NIGHT if trial[0].stage in NIGHT else MODEL
        order = [(stage, task) for stage, tasks in flow.items() for task in tasks]
        places = [order.index((kill.stage, kill.task)) for kill in trial]
        assert places == sorted(places)


def test_an_ended_task_is_not_killed():
    assert not [kill for kill in kills_of(plan(WHOLE, seed=1)) if kill.target == "task" and kill.moment == "end"]
