"""This file tells the demo's story, act by act; everything in it is done by the running services."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from include.cleaning import job
from include.config import load_pipeline
from include.demo.airflow_api import Airflow, wait_until
from include.demo.flights import Damage, Deliveries, ruin, soil
from include.demo.traffic import Traffic
from include.errors import StackError
from include.ledger import Release, nights, open_ledger, releases, requests
from include.partition import days_between
from include.pipeline import Pipeline
from include.settings import Settings, load_settings
from include.stack import Stack

PIPELINE = "flight_delays"
WINTER = ("2013-01-01", "2013-02-28")
SPRING = ("2013-03-01", "2013-07-07")
DIRTY_NIGHT = "2013-07-14"
BROKEN_NIGHT = "2013-07-16"
STAGES = ("ingest", "monitor", "train", "deploy", "rollback")


class Story:
    """The demo: a winter's model, a summer it does not know, and its successor.

    :param stack: the running services.
    :param console: shows the person who watches how it goes.
    """

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack = stack
        self.settings: Settings = load_settings()
        self.pipeline: Pipeline = load_pipeline(PIPELINE)
        self.console = console
        self.deliveries = Deliveries(self.settings.data)
        self.traffic = Traffic(self.settings.endpoint_url, PIPELINE)
        schedule = self.pipeline.schedule
        self.nights = days_between(schedule.start, schedule.end or schedule.start)
        self.refused = 0

    def act(self, title: str, do: Callable[[], str]) -> None:
        """Run one act under a spinner, then leave a line about what happened."""
        began = time.monotonic()
        with self.console.status(f"[bold]{title}[/] …"):
            outcome = do()
        self.console.print(f"[green]✔[/] [bold]{title}[/] [dim]{time.monotonic() - began:.0f} s[/]  {outcome}")

    def tell(self) -> None:
        """Tell the whole story."""
        self.act("Seed the landing zone", self.seed)
        self.act("Start the services", self.start)
        self.act("Ingest winter, by hand", self.ingest_winter)
        self.act("First model", self.first_model)
        self.act("Ingest spring, by hand", self.ingest_spring)
        for position, day in enumerate(self.nights):
            self.act(f"Night of {day}", lambda day=day, position=position: self.live_through(day, position))  # type: ignore[misc]

    def seed(self) -> str:
        """Deal out the year; the nights' deliveries are held back."""
        days = self.deliveries.seed(delivered_until=SPRING[1])
        return f"{days} days of real flights; those after {SPRING[1]} are delivered night by night"

    def start(self) -> str:
        """Wait until everything needed first answers, and switch the nightly DAG on: its nights wait for deliveries."""
        self.stack.wait_for("Spark Connect", "Airflow", "endpoint")
        self.airflow = Airflow(self.stack.urls["airflow"], self.stack.password)
        self.airflow.wait_for_dags({f"{PIPELINE}__{stage}" for stage in STAGES} | {"sweep"})
        self.airflow.unpause(f"{PIPELINE}__ingest")
        return "Airflow, Spark Connect, the endpoint; MLflow follows"

    def ingest_winter(self) -> str:
        """Ingest two months in one run, as the trigger form offers it."""
        return self._ingest_range(*WINTER)

    def first_model(self) -> str:
        """Wait until the governor has asked for a first model and it serves; Spark, idle, readies what it is asked."""
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self._what_is_known_in_the_morning)
            self.stack.wait_for("MLflow")
            self.settle()
        self.flights = asked.result()
        champion = self.champion()
        return f"version {champion.version}: AUC {champion.metrics['auc']:.3f} on days it has not seen"

    def ingest_spring(self) -> str:
        """Ingest history, which must not ask for a retraining."""
        told = self._ingest_range(*SPRING)
        self.settle()
        with open_ledger() as session:
            decision = nights.last_decision(session, PIPELINE)
        if decision is None or decision.request_id:
            raise StackError(
                f"History must not ask for a retraining, but the governor said: {decision and decision.reason}"
            )
        return f"{told}; governor: {decision.reason}"

    def live_through(self, day: str, position: int) -> str:
        """Ask about a day's flights, deliver the day, let the night run, wait for what comes of it."""
        self.traffic.ask(self.flights[day])
        note = self._deliver(day)
        following = self.nights[min(position + 1, len(self.nights) - 1)]
        self.settle(meanwhile=self.flights[following])
        return self._what_was_seen(day) + note

    def settle(self, meanwhile: pa.Table | None = None) -> None:
        """Wait until nothing is left to be monitored, trained or deployed; go on asking the endpoint meanwhile."""
        wait_until(lambda: not self._unfinished("publications"), 300, lambda: "a publication has not been monitored")
        if not self._unfinished("models"):
            return
        if meanwhile is None:
            wait_until(lambda: not self._unfinished("models"), 300, lambda: str(self._unfinished("models")))
        else:
            with self.traffic.steady(meanwhile):
                wait_until(lambda: not self._unfinished("models"), 300, lambda: str(self._unfinished("models")))

    def champion(self) -> Release:
        """Return the serving release."""
        with open_ledger() as session:
            champion = releases.champion_of(session, PIPELINE)
        if champion is None:
            raise StackError(f"There is no champion; {self._last_word()}")
        return champion

    def _unfinished(self, what: str) -> list[str]:
        with open_ledger() as session:
            if what == "publications":
                return [row.id for row in nights.waiting_publications(session, PIPELINE, older_than_seconds=0)]
            working = requests.unfinished_requests(session, PIPELINE)
            moving = releases.releases_of(session, PIPELINE, "candidate", "approved", "promoting")
            return [request.id for request in working] + [release.id for release in moving]

    def _ingest_range(self, first: str, last: str) -> str:
        run_id = self.airflow.trigger(f"{PIPELINE}__ingest", first=first, last=last)
        state = self.airflow.wait_for_run(f"{PIPELINE}__ingest", run_id)
        if state != "success":
            raise StackError(f"The ingest of {first} to {last} ended as {state}: see its log in Airflow.")
        days = days_between(date.fromisoformat(first), date.fromisoformat(last))
        with open_ledger() as session:
            rows = sum(row.rows for row in nights.partitions_of(session, PIPELINE) if row.day in set(days))
        return f"{len(days)} partitions, {rows:,} flights, one run"

    def _deliver(self, day: str) -> str:
        ingest = f"{PIPELINE}__ingest"
        damage: Damage | None = {DIRTY_NIGHT: soil, BROKEN_NIGHT: ruin}.get(day)
        self.deliveries.deliver(day, damage)
        state = self.airflow.wait_for_partition(ingest, day)
        if state == "success":
            with open_ledger() as session:
                row = next(row for row in nights.partitions_of(session, PIPELINE) if row.day == day)
            return f" · {row.quarantined} rows quarantined" if row.quarantined else ""
        if damage is not ruin:
            raise StackError(f"The night of {day} failed: see its log in Airflow.")
        self.refused += 1
        self.deliveries.deliver(day)
        run_id = self.airflow.trigger(ingest, first=day, last=day)
        if self.airflow.wait_for_run(ingest, run_id) != "success":
            raise StackError(f"The corrected delivery of {day} was not accepted: see its log in Airflow.")
        return " · refused, redelivered, accepted"

    def _what_is_known_in_the_morning(self) -> dict[str, pa.Table]:
        files = {day: str(self.deliveries.events_file(day)) for day in self.nights}
        known = job.feature_rows(self.pipeline, files)
        return {day: known.filter(pc.equal(known[self.pipeline.date], day)) for day in self.nights}

    def _what_was_seen(self, day: str) -> str:
        with open_ledger() as session:
            windows: list[Any] = [window for window in nights.windows_of(session, PIPELINE) if window.day == day]
        if not windows:
            return f"{self.flights[day].num_rows} flights asked"
        window = windows[-1]
        auc, loss = window.measures["quality"]["auc"], window.measures["quality"]["log_loss"]
        return (
            f"{window.rows} flights · v{window.version} · AUC {auc:.2f} · log loss {loss:.2f} · "
            f"{window.drifted_share:.0%} of its inputs drifted · {self._last_word()}"
        )

    def _last_word(self) -> str:
        with open_ledger() as session:
            decision = nights.last_decision(session, PIPELINE)
        return f"governor: {decision.action}" if decision else "the governor has not said anything"
