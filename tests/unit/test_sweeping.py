from datetime import timedelta

import pytest

from include import sweeping
from include.ledger import Publication, nights, open_ledger
from include.ledger.tables import now


@pytest.mark.parametrize(
    ("woken", "minutes", "due"),
    [(0, 4, False), (0, 5, True), (1, 9, False), (1, 10, True), (3, 39, False), (3, 40, True), (50, 5 * 256, True)],
)
def test_a_row_is_woken_ever_more_seldom(woken, minutes, due):
    moment = now()
    row = Publication(id="p", woken=woken, at=moment - timedelta(days=9), woken_at=moment - timedelta(minutes=minutes))

    assert sweeping.is_due(row, 300, moment) == due


def test_what_was_just_woken_is_not_woken_by_the_next_sweep(settings):
    with open_ledger() as session:
        row = Publication(id="p", pipeline="rides", days=[], rows=0, snapshot_id="", at=now() - timedelta(minutes=6))
        nights.announce(session, row)

    assert sweeping.late_rows("monitor", ["rides"], 300) == {"rides": ["p"]}
    assert sweeping.late_rows("monitor", ["rides"], 300) == {}
