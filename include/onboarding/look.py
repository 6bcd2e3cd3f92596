"""This file looks at a stranger's files, and puts the pipeline guessed from them into `config/pipelines`."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from include import atomic
from include.config import load_pipeline
from include.errors import ConfigError
from include.ingestion import files
from include.ingestion.reading import MALFORMED, read
from include.onboarding.guess import Asked, Guess, Seen, guess, target_column
from include.onboarding.keys import key_of, label_key_of
from include.onboarding.leaks import leaks
from include.onboarding.profile import Profile, profile, sample_of
from include.onboarding.write import write
from include.settings import ROOT, load_settings
from include.sources import Files

MOST_ROWS_A_DAY = 20_000


def located(path: str, option: str) -> str:
    """Return a path as the YAML is to have it: what lies in the data folder relative to that, anything else absolute.

    :raises ConfigError: if it does not say where a day is.
    """
    if "{date}" not in path:
        raise ConfigError(
            f"{option} '{path}' has no '{{date}}' in it, which stands for the day in a file's name: "
            "'deliveries/{date}.csv' reads deliveries/2026-01-31.csv. Files that are "
            "not named by a day have to be split by day first."
        )
    if "://" in path:
        return path
    data, here = load_settings().data, Path(path).resolve()
    if not files.days_of(_source(str(here), option)):
        return path  # it lies in the data folder, or nowhere
    return str(here.relative_to(data)) if here.is_relative_to(data) else str(here)


def look(asked: Asked) -> Seen:
    """Read a bounded sample of the files and describe it.

    :raises ConfigError: if there are no files, or no key or target in them.
    """
    events, events_rows = _profile(asked.events, "--events")
    labels, labels_rows = _profile(asked.labels, "--labels") if asked.labels else (None, None)
    target = target_column(asked, events, labels)
    columns, label_key, rows = dict(events.columns), None, events_rows
    if labels is not None and labels_rows is not None:
        key, _ = key_of(asked.key, events)
        label_key = label_key_of(key, events.columns[key].kind, events_rows, labels_rows)
        if asked.target in labels.columns:
            outcome = labels_rows.select([label_key, asked.target]).rename_columns(["_key", asked.target])
            rows = events_rows.drop_columns(list({asked.target} & set(events_rows.column_names)))
            rows = rows.join(outcome, keys=key, right_keys="_key", join_type="inner")
            columns[asked.target] = target
    return Seen(events, labels, label_key, leaks(rows, columns, asked.target))


def new(asked: Asked, *, is_forced: bool = False) -> tuple[Path, Seen, Guess]:
    """Write `config/pipelines/<name>.yaml` from what is in the files, and return its path with what was found.

    :raises ConfigError: if there is one of that name, or the files are not such that a pipeline can be made of them.
    """
    folder = load_settings().pipelines
    path = folder / f"{asked.name}.yaml"
    if path.exists() and not is_forced:
        raise ConfigError(f"{path} is there already: choose another name, or write over it with --force.")
    seen = look(asked)
    guessed = guess(asked, seen)
    head = (
        f"Written by `evergreen new` from {seen.events.rows:,} rows of {len(seen.events.rows_by_day)} days between "
        f"{min(seen.events.rows_by_day)} and {max(seen.events.rows_by_day)}. It is yours: read what was guessed, "
        "change it. Every key is explained in docs/yaml.md."
    )
    before = path.read_text() if path.exists() else None
    schema = os.path.relpath(ROOT / "config" / "pipeline.schema.json", folder)
    atomic.write_text(path, write(guessed, head, schema))
    try:
        load_pipeline(asked.name)
    except ConfigError:
        # What cannot be loaded would take every DAG down with it.
        path.unlink() if before is None else atomic.write_text(path, before)
        raise
    return path, seen, guessed


def _profile(path: str, option: str) -> tuple[Profile, pa.Table]:
    source = _source(path, option)
    days = files.days_of(source)
    if not days:
        raise ConfigError(
            f"{option} '{path}': no file matches it, looked for with YYYY-MM-DD in place of '{{date}}' in the current "
            f"folder and in {load_settings().data}. Correct the path."
        )
    tables = {day: _rows(source, day) for day in sample_of(days)}
    tables = {day: table for day, table in tables.items() if len(table)}
    if not tables:
        raise ConfigError(f"{option} '{path}': the files hold no rows on any of {', '.join(sample_of(days))}.")
    found = profile(tables, days)
    rows = pa.concat_tables(tables.values(), promote_options="default")
    return found, rows.filter(pc.is_null(rows[MALFORMED]))


def _rows(source: Files, day: str) -> pa.Table:
    tables = [read(each, day, each.origin, columns=()) for each in files.fetch(source, day)]
    rows = pa.concat_tables(tables, promote_options="default")
    step = -(-len(rows) // MOST_ROWS_A_DAY)
    return rows.take(pa.array(range(0, len(rows), step))) if step > 1 else rows


def _source(path: str, option: str) -> Files:
    try:
        return Files(path=path)
    except ValueError as error:
        said = error.errors()[0]["msg"] if hasattr(error, "errors") else error
        raise ConfigError(f"{option}: {said}") from error
