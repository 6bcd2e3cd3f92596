from collections import Counter

from soak.events import plan


def test_a_plan_is_the_same_for_the_same_seed_and_each_wish_is_one_request():
    events = plan(1000, seed=1)

    assert events == plan(1000, seed=1)
    assert events != plan(1000, seed=2)
    assert len({event.request_id for event in events}) == 1000


def test_a_plan_has_every_door_doubled_messages_repeated_and_lost_wake_ups():
    events = plan(1000, seed=1)

    doors = Counter(event.door for event in events)
    assert set(doors) == {"queue", "rest", "lost"}
    assert min(doors.values()) >= 100
    assert sum(event.times > 1 for event in events) >= 200
    assert sum(event.echoes for event in events) >= 150
