"""This file picks the days of a rehearsal, and the folder it happens in: one that is thrown away."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from include.errors import BadDeliveryError
from include.ingestion import files
from include.ingestion.delivery import is_delivered
from include.partition import check_day, days_around, days_between
from include.pipeline import Pipeline
from include.settings import load_connections, load_settings, working_in
from include.sources import Files

USUAL_DAYS = 30


def days_to_rehearse(pipeline: Pipeline, last: str, wanted: int | None) -> list[str]:
    """Return the delivered days up to the last one: as many as wanted, or as the windows take.

    :raises ConfigError: if the last day is no day.
    :raises BadDeliveryError: if it is not delivered.
    """
    check_day(last, "--date")
    windows = pipeline.training.window_days + pipeline.training.holdout_days
    wanted = wanted or min(windows, USUAL_DAYS)
    events = pipeline.source.events
    urls = load_connections(pipeline.source.connections)
    if isinstance(events, Files):
        there = files.days_of(events)
        candidates = [day for day in there if day <= last][-wanted:]
    else:
        there = []
        candidates = days_between(date.fromisoformat(last) - timedelta(days=wanted - 1), date.fromisoformat(last))
    if last not in candidates or not is_delivered(pipeline, last, urls):
        near = f" {days_around(last, there)}" if there and last not in there else ""
        raise BadDeliveryError(f"{pipeline.name}: nothing is delivered for {last}.{near} Name another --date.")
    return [day for day in candidates if is_delivered(pipeline, day, urls)]


@contextmanager
def thrown_away(pipeline: Pipeline) -> Iterator[None]:
    """Work in a temporary data folder, in which the deliveries lie where the YAML says."""
    real = load_settings().data
    source = pipeline.source
    paths = [getattr(each, "path", None) for each in (source.events, source.labels)]
    with tempfile.TemporaryDirectory(prefix="evergreen-dry-run-") as folder:
        for path in [*paths, *source.references.values()]:
            if path and "://" not in path and not Path(path).is_absolute():
                top = Path(folder) / Path(path).parts[0]
                if not top.exists():
                    top.symlink_to(real / Path(path).parts[0])
        with working_in(Path(folder)):
            yield
