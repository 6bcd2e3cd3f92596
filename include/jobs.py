"""This file decides about jobs that cost money: their names, whether they may be interrupted, what they may cost."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.errors import BudgetError

PREFIX = "evergreen"
MOST_LETTERS = 63  # of SageMaker's names and of Kubernetes'
BUDGET_DAYS = 30


@dataclass(frozen=True)
class Wanted:
    """A training that is to become a job."""

    pipeline: str
    request_id: str
    platform: str
    accelerator: str
    price_per_hour: float
    max_seconds: float
    is_spot_welcome: bool = False
    on_demand_after: int = 2  # interruptions
    budget_per_month: float | None = None


def name_of(pipeline: str, request_id: str, attempt: int) -> str:
    """Return what a platform is to know an attempt by: valid for SageMaker and Kubernetes, another for each attempt.

    The words in it are for people; the hash of all three is what tells two names apart.
    """
    told = f"{len(pipeline)}/{pipeline}/{request_id}/{attempt}"
    mark = hashlib.sha256(told.encode()).hexdigest()[:12]
    room = MOST_LETTERS - len(PREFIX) - len(mark) - len(str(attempt)) - 3
    words = re.sub(r"[^a-z0-9]+", "-", pipeline.lower())[:room].strip("-")
    return "-".join(part for part in (PREFIX, words, mark, str(attempt)) if part)


def may_be_interrupted(wanted: Wanted, ends: Sequence[str]) -> bool:
    """Return whether the next attempt runs on a machine that may be taken away: not after several times of that.

    :param ends: how the attempts before ended.
    """
    return wanted.is_spot_welcome and sum(end == "interrupted" for end in ends) < wanted.on_demand_after


def expected_seconds(past: Sequence[float], max_seconds: float) -> float:
    """Return how long a job is expected to take: as the longest of the newest ones like it; at most, without any."""
    return min(max(past, default=max_seconds), max_seconds)


def cost_of(seconds: float, price_per_hour: float) -> float:
    """Return what so many seconds cost."""
    return round(seconds / 3600 * price_per_hour, 6)


def lease_of(wanted: Wanted, moment: datetime) -> datetime:
    """Return the moment at which a job that begins now is stopped, whatever it is doing."""
    return moment + timedelta(seconds=wanted.max_seconds)


def check_budget(wanted: Wanted, spent: float, estimate: float) -> None:
    """Refuse what would cost more than there is left.

    :raises BudgetError: saying how much is there, was spent and would be needed.
    """
    budget = wanted.budget_per_month
    if budget is not None and spent + estimate > budget:
        raise BudgetError(
            f"'{wanted.pipeline}' may spend {budget:g} in {BUDGET_DAYS} days (`compute.budget_per_month`): {spent:.2f} "
            f"are spent or promised, and this training on {wanted.platform} ('{wanted.accelerator}', "
            f"{wanted.price_per_hour:g} an hour) may cost {estimate:.2f}. Nothing was started. Raise the budget, lower "
            "`compute.max_hours`, take a cheaper accelerator, or wait."
        )
