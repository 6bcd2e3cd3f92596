import asyncio

import pytest
from limits import parse
from prometheus_client import CollectorRegistry, Counter

from include.errors import ConfigError
from include.serving import rates as rating
from include.serving.keys import keys_path
from include.serving.rates import Rates


@pytest.fixture
def unchecked():
    return Counter("unchecked", "Let through.", registry=CollectorRegistry())


def ask(rates, times):
    async def repeat():
        return [await rates.seconds_to_wait("shop", parse("1/hour")) for _ in range(times)]

    return asyncio.run(repeat())


def test_where_nothing_can_be_counted_everybody_passes_and_that_is_counted(settings, unchecked, caplog):
    folder = keys_path(settings).parent
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")

    assert ask(Rates(settings, unchecked), 5) == [0] * 5

    assert unchecked._value.get() == 5
    assert len(caplog.records) == 1, "said once"


@pytest.mark.parametrize("is_alone", [False, True])
def test_a_key_asks_so_often_and_then_waits_for_its_windows_end(settings, unchecked, is_alone):
    first, second = ask(Rates(settings, unchecked, is_alone=is_alone), 2)

    assert (first, 3500 < second <= 3600) == (0, True)
    assert keys_path(settings).with_name("windows").exists() is not is_alone


def test_what_can_be_counted_again_is_limited_again(settings, unchecked, monkeypatch, caplog):
    monkeypatch.setattr(rating, "RETRY_SECONDS", 0)
    folder = keys_path(settings).parent
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    rates = Rates(settings, unchecked)
    ask(rates, 2)

    folder.unlink()

    first, second = ask(rates, 2)
    assert (first, second > 3500) == (0, True)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_redis_that_does_not_answer_lets_everybody_pass(settings, unchecked):
    rates = Rates(settings.model_copy(update={"limits_url": "redis://127.0.0.1:1"}), unchecked)

    assert ask(rates, 3) == [0] * 3
    assert unchecked._value.get() == 3


def test_a_redis_that_hangs_is_not_waited_for(settings, unchecked, monkeypatch):
    monkeypatch.setattr(rating, "CHECK_SECONDS", 0.01)
    rates = Rates(settings.model_copy(update={"limits_url": "redis://127.0.0.1:1"}), unchecked)

    async def hang(*_asked):
        await asyncio.Event().wait()

    monkeypatch.setattr(rates._limiter, "hit", hang)

    assert ask(rates, 3) == [0] * 3


def test_a_place_of_an_unknown_kind_is_refused_without_its_password(settings, unchecked):
    with pytest.raises(ConfigError, match="'rediss2://' cannot be used") as refused:
        Rates(settings.model_copy(update={"limits_url": "rediss2://:secret@there"}), unchecked)

    assert "secret" not in str(refused.value)


def test_the_settings_show_neither_the_key_nor_the_password(monkeypatch, settings):
    shown = repr(settings.model_copy(update={"limits_url": "redis://:secret@there", "endpoint_key": "secret"}))

    assert "secret" not in shown
