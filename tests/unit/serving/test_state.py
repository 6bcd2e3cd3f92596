import json
from dataclasses import replace

import pytest

from include.errors import StaleReleaseError
from include.serving.state import State, declare, read_state, state_path, withdraw

STATE = State(pipeline="rides", generation=3, version=2, model_uri="models/2", sha256="a" * 64)


def test_a_declared_state_is_read_back_whole(settings):
    declare(settings, STATE)

    assert read_state(settings, "rides") == STATE


def test_nothing_is_declared_at_first(settings):
    assert read_state(settings, "rides") is None


def test_an_overtaken_promotion_cannot_declare_its_state(settings):
    declare(settings, STATE)

    with pytest.raises(StaleReleaseError, match="generation 3, newer than 2"):
        declare(settings, replace(STATE, generation=2))

    assert read_state(settings, "rides") == STATE


def test_a_broken_file_is_overwritten(settings):
    declare(settings, STATE)
    state_path(settings, "rides").write_text('{"half')

    declare(settings, replace(STATE, generation=1))

    assert read_state(settings, "rides").generation == 1


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({**vars(STATE), "version": "2"}),
        json.dumps({**vars(STATE), "version": True}),
        json.dumps({**vars(STATE), "pipeline": "others"}),
        json.dumps({**vars(STATE), "further": 1}),
    ],
)
def test_a_state_that_is_not_whole_and_valid_is_refused(settings, broken):
    declare(settings, STATE)
    state_path(settings, "rides").write_text(broken)

    with pytest.raises(ValueError, match="no whole and valid state|of another pipeline"):
        read_state(settings, "rides")


def test_only_the_own_generation_is_withdrawn(settings):
    declare(settings, STATE)

    withdraw(settings, "rides", 2)
    assert read_state(settings, "rides") == STATE

    withdraw(settings, "rides", 3)
    assert read_state(settings, "rides") is None
