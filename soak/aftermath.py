"""This file looks whether kills have lost anything, done anything twice, or left anything behind."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
from sqlalchemy import select

from include import lake
from include.config import load_pipeline
from include.ledger import Partition, Release, Request, nights, open_ledger, releases
from include.settings import load_settings

TEMPORARY = re.compile(r"^\..+\.[0-9a-f]{8}$")


def findings(pipeline_name: str, expected_rows: dict[str, int], trainings: int) -> dict[str, list[str]]:
    """Return what was lost, what was doubled and what disagrees; three empty lists where all is well.

    :param expected_rows: rows that each ingested day must hold, from an undisturbed run.
    :param trainings: how many models were asked for.
    """
    lost, doubled, disagree = [], [], []
    rows = _rows_by_day(pipeline_name)
    for day, expected in expected_rows.items():
        found = rows[day]
        (lost if found < expected else doubled if found > expected else []).append(f"{day}: {found} rows of {expected}")
    with open_ledger() as session:
        asked = session.scalars(select(Request).where(Request.pipeline == pipeline_name)).all()
        made = session.scalars(select(Release).where(Release.pipeline == pipeline_name)).all()
        known = {row.day: row.rows for row in nights.partitions_of(session, pipeline_name) if row.status == "published"}
        champion = releases.champion_of(session, pipeline_name)
        waiting = nights.waiting_publications(session, pipeline_name, older_than_seconds=0)
    lost += [f"{request.id} is {request.status}: {request.note}" for request in asked if request.status != "done"]
    lost += [f"{publication.id} has not been monitored" for publication in waiting]
    lost += [f"{release.id} is {release.status}: {release.note}" for release in made if release.status in _STUCK]
    if len(asked) != trainings or len(made) != trainings:
        text = f"{trainings} trainings were asked for: {len(asked)} requests, {len(made)} releases"
        (lost if len(made) < trainings else doubled).append(text)
    if known != {day: rows[day] for day in known} or set(known) != set(rows):
        disagree.append(f"ledger and table: {set(known.items()) ^ set(rows.items())}")
    newest = max((release.version for release in made), default=None)
    served = httpx.get(f"{load_settings().endpoint_url}/ping", trust_env=False).json()["pipelines"].get(pipeline_name)
    if not champion or champion.version != newest or not served or served["version"] != newest:
        disagree.append(f"newest release {newest}, champion {champion and champion.version}, served {served}")
    return {"lost": lost, "doubled": doubled, "disagree": disagree}


def orphans(pipeline_name: str) -> list[str]:
    """Expire at once what nothing needs, and return the files of the lake that are left and that nothing needs."""
    lake.expire(pipeline_name, 0)
    folder = load_settings().lake / pipeline_name
    table = lake.open_table(pipeline_name)
    needed = {Path(row["file_path"].removeprefix("file://")).parents[2] for row in _files(table)}
    staged = [str(path) for path in (folder / "staged").glob("*") if path not in needed]
    temporary = [str(path) for path in load_settings().data.rglob(".*") if TEMPORARY.match(path.name)]
    return staged + temporary


_STUCK = ("candidate", "approved", "promoting", "failed", "rejected")


def _files(table: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.inspect.all_files().to_pylist() if table else []
    return found


def _rows_by_day(pipeline_name: str) -> Counter[str]:
    pipeline = load_pipeline(pipeline_name)
    with open_ledger() as session:
        days = [row.day for row in session.scalars(select(Partition).where(Partition.pipeline == pipeline_name))]
    if not days:
        return Counter()
    table = lake.read_clean(pipeline_name, min(days), max(days), [pipeline.key, pipeline.date])
    keys = pa.table({"day": table[pipeline.date].cast(pa.string()), "key": table[pipeline.key]})
    unique = keys.group_by(["day", "key"]).aggregate([])
    if len(unique) != len(keys):
        raise AssertionError(f"{len(keys) - len(unique)} rows stand twice in the table")
    return Counter(keys["day"].to_pylist())
