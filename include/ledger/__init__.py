"""What is to be done and what was decided, as rows of a small SQL database that outlives every event."""

from include.ledger.session import open_ledger
from include.ledger.tables import Alert, Attempt, Decision, Partition, Pause, Publication, Release, Request, Window

__all__ = [
    "Alert",
    "Attempt",
    "Decision",
    "Partition",
    "Pause",
    "Publication",
    "Release",
    "Request",
    "Window",
    "open_ledger",
]
