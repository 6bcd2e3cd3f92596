"""This file looks after a job that nobody follows: it sees that the job has ended, and ends what outlives its lease."""

from include.ledger import Attempt, jobs, open_ledger
from include.ledger.tables import now
from include.platforms import platform_named
from include.platforms.base import Job, Status


def look(name: str) -> Status:
    """Return what a job does, and have it end if its lease is over.

    :param name: the attempt's.
    :raises PlatformError: if that cannot be told, or done, this time.
    """
    with open_ledger() as session:
        attempt = session.get_one(Attempt, name)
    status = platform_named(attempt.platform).status(Job(attempt.name, attempt.detail))
    if status.state == "running" and attempt.lease_until <= now() and not attempt.reason:
        stop(name, f"took longer than its lease, until {attempt.lease_until:%Y-%m-%d %H:%M} UTC")
    return status


def stop(name: str, why: str) -> None:
    """Have a job end. The ledger is told first: what the platform does not hear now it hears from `sweep`."""
    with open_ledger() as session:
        jobs.end_lease(session, name, why)
        attempt = session.get_one(Attempt, name)
    platform_named(attempt.platform).stop(Job(attempt.name, attempt.detail))
