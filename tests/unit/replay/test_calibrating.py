import pytest

from include.replay.calibrating import FEWEST_TO_CHOOSE_BY, Tried, advice


def tried(toll: float, loss: float, asked: int = 0, in_vain: int = 0) -> Tried:
    return Tried((f"governor.repairs.retrain={toll}",), {"log_loss": loss, "recalibrations": 0}, asked, in_vain)


def test_of_those_near_the_best_the_one_that_cried_wolf_least_is_proposed():
    said = advice([tried(0.02, 0.5, 3, 2), tried(0.03, 0.501, 1), tried(0.05, 0.6)], 60)

    assert said.startswith("Proposed: governor.repairs.retrain=0.03")


def test_where_all_settings_did_the_same_none_is_proposed():
    said = advice([tried(0.02, 0.5), tried(0.03, 0.5)], 60)

    assert said.startswith("Nothing is proposed: all settings did the same on these 60 days.")


@pytest.mark.parametrize(("num_days", "start"), [(-1, "Nothing is proposed: 17 days are too few"), (0, "Proposed: ")])
def test_of_too_few_days_none_is_proposed(num_days, start):
    assert advice([tried(0.02, 0.5, 1), tried(0.03, 0.6)], FEWEST_TO_CHOOSE_BY + num_days).startswith(start)
