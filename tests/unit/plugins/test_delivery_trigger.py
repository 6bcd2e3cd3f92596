import asyncio

import pytest

DAY = "2020-01-02"


@pytest.fixture
def make_trigger():
    from evergreen.triggers.delivery import DeliveryTrigger

    return lambda poke_seconds=0.001: DeliveryTrigger("rides", DAY, poke_seconds)


@pytest.fixture
def deliver(rides, delivery_of):
    def write(*kinds: str) -> None:
        for kind, path in delivery_of(rides, DAY).items():
            if kind in kinds:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("ride_id\n")

    return write


def test_it_can_be_made_again_from_what_it_says_of_itself(make_trigger):
    path, arguments = make_trigger().serialize()

    assert path == "evergreen.triggers.delivery.DeliveryTrigger"
    assert arguments == {"pipeline_name": "rides", "day": DAY, "poke_seconds": 0.001}
    assert type(make_trigger())(**arguments).serialize() == (path, arguments)


def test_it_fires_for_a_day_that_is_there(make_trigger, deliver):
    deliver("events", "labels")

    event = asyncio.run(anext(make_trigger().run()))

    assert event.payload == DAY


def test_it_pauses_before_its_first_look(make_trigger, deliver):
    deliver("events", "labels")

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(anext(make_trigger(60.0).run()), 0.05))


def test_it_waits_until_the_last_file_is_there(make_trigger, deliver):
    deliver("labels")

    async def watch() -> tuple[bool, str]:
        fired = asyncio.ensure_future(anext(make_trigger().run()))
        await asyncio.sleep(0.05)
        too_early = fired.done()
        deliver("events")
        return too_early, (await asyncio.wait_for(fired, 5)).payload

    assert asyncio.run(watch()) == (False, DAY)
