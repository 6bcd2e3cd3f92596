"""This file says in words what trainings cost: the one that is under way as estimated, and the last 30 days."""

from include.jobs import BUDGET_DAYS
from include.ledger import Attempt
from include.pipeline import Pipeline


def under_way(attempt: Attempt) -> str:
    """Return where an attempt runs that is not known to have ended, and what it may cost."""
    cost = f", estimated at {attempt.estimate:.2f}" if attempt.price_per_hour else ""
    return (
        f"attempt {attempt.attempt} on {attempt.platform} ({attempt.name}) since {attempt.at:%Y-%m-%d %H:%M}, until "
        f"{attempt.lease_until:%Y-%m-%d %H:%M} UTC at the latest{cost}"
    )


def spending(pipeline: Pipeline, spent: float) -> str:
    """Return what a pipeline's jobs have cost lately and what they may; empty where nothing has a price or a limit.

    :param spent: as its budget counts: what has not ended yet as estimated.
    """
    budget = pipeline.compute.budget_per_month
    if budget is not None:
        return f"{spent:.2f} in the last {BUDGET_DAYS} days, of {budget:g} (`compute.budget_per_month`)"
    return f"{spent:.2f} in the last {BUDGET_DAYS} days" if spent else ""
