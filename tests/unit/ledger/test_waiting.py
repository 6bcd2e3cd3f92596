"""A transaction waits for the one before it, and not forever."""

import pytest
from sqlalchemy.exc import OperationalError

from include.ledger import session as ledger
from include.ledger.session import connect


def test_who_waits_too_long_for_the_ledger_is_told_so(ledger_url, monkeypatch):
    monkeypatch.setattr(ledger, "WAIT_SECONDS", 0.05)
    first, second = connect(ledger_url), connect(ledger_url)

    with first.begin(), pytest.raises(OperationalError, match=r"locked|lock timeout"), second.begin():
        pass
    with second.begin():
        pass
