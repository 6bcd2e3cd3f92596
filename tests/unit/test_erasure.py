import pytest

from include.erasure import erase
from include.errors import ConfigError


@pytest.mark.parametrize("key", ["", "  "])
@pytest.mark.parametrize("really", [True, False])
def test_an_empty_key_is_refused(rides, key, really):
    with pytest.raises(
        ConfigError, match=rf"--key is '{key}': expected is the subject's value in the column 'ride_id'"
    ):
        erase(rides, key, really=really)
