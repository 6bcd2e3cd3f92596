import pyarrow as pa
import pytest

from include.onboarding.leaks import leaks
from tests.unit.onboarding.conftest import DAYS, ROWS, as_delivery, orders, profile_of


@pytest.fixture(scope="module")
def find(deliveries, shop):
    rows = pa.concat_tables(deliveries.values())
    return lambda target: leaks(rows, dict(shop.columns), target)


def test_the_target_under_other_names_is_found(find):
    assert find("paid") == {"paid_flag": "has one value for each of 'paid'"}


def test_numbers_that_add_up_to_the_target_are_found_and_others_left_alone(find):
    found = find("net")

    assert set(found) == {"amount", "pieces"}
    assert found["amount"] == "'net' can be calculated from amount and pieces"


def test_nothing_is_found_where_nothing_gives_the_target_away(find):
    assert find("channel") == {}


def test_a_copy_of_the_target_is_found():
    columns = {**orders(DAYS[0]), "again": orders(DAYS[0])["amount"]}
    found = leaks(as_delivery(DAYS[0], columns), dict(profile_of({DAYS[0]: columns}).columns), "amount")

    assert found["again"] == "is 'amount' itself"
    assert ROWS == 40, "few rows: the sum needs more of them than there are columns"
