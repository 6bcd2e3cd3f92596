"""This file says what a training would become on each platform, what that may cost, and what stands in its way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime

from sqlalchemy.exc import SQLAlchemyError

from include.accelerators import accelerator_named, machine_for
from include.errors import BudgetError, ConfigError, PlatformRefusedError, SchemaError
from include.finding import PATIENCE, Finding, ok, problem, unsure, within
from include.jobs import BUDGET_DAYS, Wanted, check_budget, cost_of, expected_seconds, lease_of, may_be_interrupted
from include.ledger import jobs, open_ledger
from include.pipeline import Pipeline
from include.platforms import PLATFORMS, platform_named
from include.platforms.base import Order, Outline, Platform
from include.platforms.ordering import wanted
from include.spelling import did_you_mean
from include.training.spec import Spec, model_folder

REQUEST = "REQUEST"  # stands where a request's id will
OLD_DAYS = 90
ASPECTS = (*(each.name for each in fields(Outline)), "cost")


@dataclass(frozen=True)
class Offer:
    """What a platform would make of the next training, and at which price."""

    platform: Platform
    asked: Wanted
    order: Order
    outline: Outline
    priced_on: date | None  # of this machine, nobody has written down a day


@dataclass(frozen=True)
class Money:
    """What the ledger knows of a pipeline's trainings."""

    spent: float  # in 30 days, what is promised included
    past: Mapping[str, Sequence[float]]  # by platform: seconds that the newest ones like this took


@dataclass(frozen=True)
class Column:
    """What a platform answers: words for each aspect, or why there are none."""

    platform: str
    cells: Mapping[str, str]
    problem: str = ""


def platforms_of(pipeline: Pipeline, asked: Sequence[str] = ()) -> list[str]:
    """Return the platforms to look at: those asked for, or all, the pipeline's own first.

    :raises ConfigError: if there is no platform of such a name.
    """
    if unknown := [name for name in asked if name not in PLATFORMS]:
        guess = did_you_mean(unknown[0], PLATFORMS)
        raise ConfigError(f"There is no platform '{unknown[0]}'. Platforms there: {', '.join(PLATFORMS)}.{guess}")
    return list(dict.fromkeys(asked or [pipeline.platform, *PLATFORMS]))


def plan_of(pipeline: Pipeline, names: Sequence[str]) -> tuple[list[Column], str]:
    """Return what a training would become on each platform, and what it may cost; settings and ledger are read."""
    offers, problems = {}, {}
    for name in names:
        try:
            offers[name] = offer_of(pipeline, name)
        except (ConfigError, PlatformRefusedError) as error:
            problems[name] = str(error)
    money = money_of(pipeline.name, [offer.asked for offer in offers.values()])
    columns = [
        Column(name, cells_of(offers[name], money)) if name in offers else Column(name, {}, problems[name])
        for name in names
    ]
    return columns, budget_said(pipeline.compute.budget_per_month, money)


def offer_of(pipeline: Pipeline, name: str) -> Offer:
    """Return what a platform would make of the pipeline's next training, whatever request asks for it.

    :raises ConfigError: if its settings or its price are missing or wrong.
    :raises PlatformRefusedError: if such a training cannot run there.
    """
    training, days = pipeline.training, (REQUEST, REQUEST)  # nobody knows the days before it is asked for
    spec = Spec(
        pipeline=pipeline.name,
        request_id=REQUEST,
        reason="plan",
        key=pipeline.key,
        date=pipeline.date,
        snapshot_id=None,
        train_days=days,
        holdout_days=days,
        training=training,
        sample_rows=pipeline.monitoring.sample_rows,
        folder=model_folder(pipeline.name, REQUEST),
        accelerator=accelerator_named(training.accelerator),
    )
    asked = wanted(pipeline.model_copy(update={"platform": name}), spec)
    order = Order(REQUEST, spec, lease_of(asked, datetime.now(UTC)), may_be_interrupted(asked, []))
    platform = platform_named(name)
    priced_on = None if name == "local" else machine_for(training.accelerator, name).priced_on
    return Offer(platform, asked, order, platform.describe(order), priced_on)


def money_of(pipeline_name: str, asked: Iterable[Wanted]) -> Money | None:
    """Return what the ledger knows of trainings like these; None where it does not answer."""

    def read() -> Money:
        with open_ledger() as session:
            past = {each.platform: jobs.newest_seconds(session, each) for each in asked}
            return Money(jobs.spent(session, pipeline_name), past)

    try:
        return within(PATIENCE, read)
    except (SQLAlchemyError, SchemaError, TimeoutError):
        return None


def cells_of(offer: Offer, money: Money | None) -> dict[str, str]:
    """Return the words for each aspect.

    :param money: None where the ledger does not answer.
    """
    asked, told = offer.asked, asdict(offer.outline)
    if offer.order.is_spot:
        told["interruption"] += f"; on demand after {asked.on_demand_after} interruptions"
    told["end"] = f"after {_time(asked.max_seconds)} at the latest: {offer.outline.end}"
    return told | {"cost": _cost(asked, offer.priced_on, money)}


def budget_said(budget: float | None, money: Money | None) -> str:
    """Return what a pipeline's trainings may still cost."""
    if money is None:
        return "Budget: the ledger does not answer (`--check` says why)."
    spent = f"{money.spent:.2f} spent or promised in {BUDGET_DAYS} days"
    if budget is None:
        return f"Budget: no limit (`compute.budget_per_month`), {spent}."
    return f"Budget: {budget:g} in {BUDGET_DAYS} days; {spent}, {max(0.0, budget - money.spent):.2f} left."


def check(pipeline: Pipeline, name: str, today: date) -> Iterator[Finding]:
    """Yield what was found of all that a training on a platform needs, as far as it can be reached from here."""
    try:
        offer = offer_of(pipeline, name)
    except (ConfigError, PlatformRefusedError) as error:
        yield problem("settings", str(error))
        return
    yield ok("settings", "complete")
    if offer.priced_on:
        yield price_finding(offer.asked, offer.priced_on, today)
    if money := money_of(pipeline.name, [offer.asked]):
        yield budget_finding(offer.asked, money)
    yield from offer.platform.check(offer.order)


def price_finding(asked: Wanted, priced_on: date, today: date) -> Finding:
    """Return whether a price was looked up lately."""
    told, days = f"{asked.price_per_hour:g} an hour, of {priced_on}", (today - priced_on).days
    if days <= OLD_DAYS:
        return ok("price", told)
    remedy = f"Look it up again: `machines` of '{asked.accelerator}' in config/accelerators.yaml."
    return unsure("price", f"{told}, which is {days} days ago", remedy)


def budget_finding(asked: Wanted, money: Money) -> Finding:
    """Return whether a training would be started."""
    estimate = cost_of(_seconds(asked, money), asked.price_per_hour)
    try:
        check_budget(asked, money.spent, estimate)
    except BudgetError as error:
        return problem("budget", str(error))
    limit = "no limit" if asked.budget_per_month is None else f"{asked.budget_per_month:g} in {BUDGET_DAYS} days"
    return ok("budget", f"{limit}; {money.spent:.2f} spent or promised, {estimate:.2f} for this training")


def _seconds(asked: Wanted, money: Money | None) -> float:
    return expected_seconds(money.past[asked.platform] if money else (), asked.max_seconds)


def _cost(asked: Wanted, priced_on: date | None, money: Money | None) -> str:
    if not asked.price_per_hour:
        return f"none is counted: `price_per_hour` of '{asked.accelerator}' is nought"
    seconds = _seconds(asked, money)
    estimate, past = cost_of(seconds, asked.price_per_hour), money.past[asked.platform] if money else ()
    if past:
        told = f"about {estimate:.2f}: {_time(seconds)} (the longest of the newest {len(past)})"
    else:
        why = "none has run yet" if money else "the ledger does not answer"
        told = f"{estimate:.2f} at most: {_time(seconds)} (`compute.max_hours`; {why})"
    return f"{told} at {asked.price_per_hour:g} an hour" + (f", a price of {priced_on}" if priced_on else "")


def _time(seconds: float) -> str:
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.3g} h"
