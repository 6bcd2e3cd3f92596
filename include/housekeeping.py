"""This file keeps a pipeline's disk and ledger within its retention policy: once a day, and again after a kill."""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from include import captures, lake
from include.atomic import write_text
from include.inventory import inventory, remove
from include.ledger import Release, nights, open_ledger, releases, requests
from include.partition import run_key_of
from include.pipeline import Pipeline
from include.retention import Needed, is_older, may_go, models_needed, policy_of
from include.settings import load_settings
from include.training.spec import model_folder, work_folder

log = logging.getLogger(__name__)


def keep_house(pipeline: Pipeline, now: datetime) -> dict[str, Any]:
    """Do the day's housekeeping for a pipeline, unless it is done, and return what went: counts, and bytes of files."""
    marker = load_settings().lake / pipeline.name / "housekeeping.json"
    if is_done_today(marker, now):
        return {}
    with captures.rewriting(pipeline.name):
        removed = {
            **_compact(pipeline, now),
            **_remove_files(pipeline, now),
            **_forget_rows(pipeline, now),
            **lake.expire(pipeline.name, pipeline.retention.snapshots_days, now),
        }
    write_text(marker, json.dumps({"at": now.isoformat(), "removed": removed}, indent=1))
    log.info("%s: %s", pipeline.name, removed)
    return removed


def keep_logs(days: int, now: datetime) -> dict[str, Any]:
    """Remove Airflow's log files that were not written to for so many days, once a day."""
    folder = load_settings().airflow_logs
    marker = folder / "housekeeping.json"
    if not folder.is_dir() or is_done_today(marker, now):
        return {}
    removed = Counter[str]()
    for path in folder.rglob("*.log"):
        found = path.lstat()
        if is_older(datetime.fromtimestamp(found.st_mtime, UTC), days, now):
            path.unlink(missing_ok=True)
            removed.update({"files": 1, "bytes": found.st_size})
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if is_older(datetime.fromtimestamp(path.stat().st_mtime, UTC), 1, now) and not any(path.iterdir()):
            path.rmdir()
    write_text(marker, json.dumps({"at": now.isoformat(), "removed": removed}, indent=1))
    return dict(removed)


def is_done_today(marker: Path, now: datetime) -> bool:
    """Return whether the marker says that this day's housekeeping has come to its end."""
    try:
        return bool(datetime.fromisoformat(json.loads(marker.read_text())["at"]).date() == now.date())
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _compact(pipeline: Pipeline, now: datetime) -> dict[str, int]:
    days = (load_settings().lake / pipeline.name / "predictions").glob("day=*")
    return {"compacted": sum(captures.compact(day, now) for day in days)}


def _remove_files(pipeline: Pipeline, now: datetime) -> dict[str, Any]:
    policy = policy_of(pipeline)
    with open_ledger() as session:
        known = releases.releases_of(session, pipeline.name)
        unfinished = requests.unfinished_requests(session, pipeline.name)
        windows = nights.windows_of(session, pipeline.name)
        publications = nights.waiting_publications(session, pipeline.name, older_than_seconds=0)
    stays = models_needed(known, unfinished, windows, policy, now)
    folders = [Path(release.model_uri).name for release in known if release.version in stays]
    folders += [model_folder(pipeline.name, request.id).name for request in unfinished]
    needed = Needed(
        runs=frozenset(run_key_of(publication.id) for publication in publications),
        models=frozenset(name for folder in folders for name in (folder, work_folder(Path(folder)).name)),
    )
    by_folder = {Path(release.model_uri).name: release for release in known}
    removed: dict[str, Any] = {}
    for item in may_go(inventory(load_settings(), pipeline.name), needed, policy, now):
        if (
            item.kind == "models"
            and (item.uri or item.path.is_dir())
            and not _let_go(pipeline, by_folder.get(item.path.name))
        ):
            continue
        remove(item)
        count = removed.setdefault(item.kind, {"count": 0, "bytes": 0})
        count["count"] += 1
        count["bytes"] += item.num_bytes
    return removed


def _let_go(pipeline: Pipeline, release: Release | None) -> bool:
    """Take a model out of the ledger's reach, MLflow and the table's tags; its folder, which goes last, is the proof.

    False if MLflow does not answer: then the folder stays, and the next day tries again.
    """
    if release is None:
        return True
    from include import registry  # noqa: PLC0415  MLflow takes seconds to import, and most days remove no model

    with open_ledger() as session:
        releases.forget_model(session, release.id)
        if releases.get_release(session, release.id).status in {"promoting", "champion"}:
            return False  # a rollback was quicker
    if not registry.forget(pipeline.name, release.request_id):
        return False
    lake.untag_snapshot(pipeline.name, f"v{release.version}")
    return True


def _forget_rows(pipeline: Pipeline, now: datetime) -> dict[str, int]:
    policy = pipeline.retention
    with open_ledger() as session:
        forgotten = nights.forget_measurements(session, pipeline.name, now - timedelta(days=policy.ledger_days))
        published = nights.published_days(session, pipeline.name)
        first_kept = first_day_kept(published, policy.clean_days)
        if first_kept:
            nights.expire_days(session, pipeline.name, first_kept)
    if first_kept:
        lake.forget_days(pipeline, first_kept)
    return {"ledger_rows": forgotten, "days": sum(day < first_kept for day in published)}


def first_day_kept(published: Iterable[str], days: int | None) -> str:
    """Return the first day that stays in the clean table; "" if all do."""
    newest = max(published, default="")
    if days is None or not newest:
        return ""
    return (date.fromisoformat(newest) - timedelta(days=days - 1)).isoformat()
