import pytest

from include.errors import BadDeliveryError, ConfigError
from include.onboarding.aside import days_to_rehearse


def test_a_last_day_that_is_none_or_not_delivered_is_refused(rides, settings):
    for folder in ("e", "l"):
        (settings.data / folder).mkdir(parents=True)
        (settings.data / folder / "2020-01-01.csv").touch()

    with pytest.raises(ConfigError, match="--date '2020-1-3' is no day"):
        days_to_rehearse(rides, "2020-1-3", None)
    with pytest.raises(
        BadDeliveryError, match=r"nothing is delivered for 2020-01-03\. Days there: .* nearest: 2020-01-01"
    ):
        days_to_rehearse(rides, "2020-01-03", None)
