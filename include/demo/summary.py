"""This file reads, from ledger, lake and Airflow, what happened in the demo, and says whether the loop closed."""

from collections import Counter
from typing import Any

import numpy as np
from rich.table import Table

from include import artefact, lake
from include.demo.story import BROKEN_NIGHT, Story
from include.evaluation import paired_interval, quality
from include.learning.kinds import labels_of, task_of
from include.learning.task import LABEL, Task
from include.ledger import Release, Window, nights, open_ledger, releases
from include.ledger.tables import Request
from include.release_story import gate_said


def summarise(story: Story) -> dict[str, Any]:
    """Return the numbers of the story just told; wall time and memory are added by the caller."""
    name = story.pipeline.name
    with open_ledger() as session:
        served = [row for row in reversed(releases.releases_of(session, name)) if row.serving_at]
        windows = nights.windows_of(session, name)
        days = nights.partitions_of(session, name)
        asked = {release.version: session.get(Request, release.request_id) for release in served}
    summary: dict[str, Any] = {
        "first_model": _first_model(served[0]),
        "traffic": {
            "sent": story.traffic.sent,
            "failed": len(story.traffic.failures),
            "flights": sum(story.traffic.answers_by_version.values()),
            "failures": story.traffic.failures[:5],
        },
        "partitions": {
            "published": sum(row.status == "published" for row in days),
            "refused": story.refused,
            "redelivered": sum(row.redeliveries > 0 for row in days),
        },
        "rows_quarantined": sum(row.quarantined for row in days),
        "airflow": _airflow(story),
    }
    later = [(release, request) for release in served[1:] if (request := asked[release.version])]
    summary["repairs"] = Counter(request.repair for _, request in later)
    retrained = next(((release, request) for release, request in later if request.repair == "retrain"), None)
    if retrained:
        release, request = retrained
        summary["drift"] = _drift(windows, request)
        summary["retrain"] = _retrain(request, release)
        # Later versions are the same network, recalibrated: their days are days that followed, too.
        following = sorted(
            {row.day for row in windows if row.version >= release.version and row.day > release.judged_until}
        )
        if following:
            summary["second_model"] = _second_model(story, served[0], release, following)
    return summary


def broken_promises(summary: dict[str, Any]) -> list[str]:
    """Return what did not happen as it should have; empty if the loop closed."""
    airflow, partitions = summary["airflow"], summary["partitions"]
    promises = {
        "No retraining put a second model behind the endpoint.": "second_model" in summary,
        "It was not falling quality or drift that asked for it.": summary.get("retrain", {}).get("triggered_by")
        in {"quality", "drift"},
        f"{summary['traffic']['failed']} requests failed: {summary['traffic']['failures']}": not summary["traffic"][
            "failed"
        ],
        f"Tasks failed that should not have: {airflow['unexpected']}": not airflow["unexpected"],
        "The broken delivery was not refused and its correction accepted.": partitions["refused"] > 0
        and partitions["redelivered"] > 0,
        "No row of the dirty delivery was quarantined.": summary["rows_quarantined"] > 0,
    }
    return [sentence for sentence, kept in promises.items() if not kept]


def summary_table(summary: dict[str, Any]) -> Table:
    """Return what a person wants to know of it."""
    table = Table(title="What happened", show_header=False, title_justify="left")
    first = summary["first_model"]
    table.add_row(
        "first model", f"v{first['version']}, AUC {first['auc']:.3f} held out, {first['train_rows']:,} flights"
    )
    if second := summary.get("second_model"):
        drift, retrain, interval = summary["drift"], summary["retrain"], second["gain_interval"]
        table.add_row("went stale", f"night of {drift['partition']}: {retrain['reason']}")
        table.add_row(
            "retrained",
            f"by {retrain['triggered_by']}; {retrain['seconds_request_to_serving']} s from request to serving",
        )
        table.add_row(
            "second model",
            f"v{second['version']}, {second['gain_metric']} better by {second['gain']:.3f} on {second['days']} days "
            f"that followed (90% interval over days: {interval[0]:+.3f} to {interval[1]:+.3f}), AUC "
            f"{second['auc_new_on_following_days']:.3f}; v{first['version']} would have had "
            f"{second['auc_old_on_same_days']:.3f}",
        )
    repairs = summary["repairs"]
    table.add_row(
        "repairs",
        f"{repairs['retrain']} × retraining, {repairs['recalibrate']} × recalibration, {repairs['reinstate']} × a "
        "former champion put back",
    )
    traffic, partitions, airflow = summary["traffic"], summary["partitions"], summary["airflow"]
    table.add_row(
        "traffic", f"{traffic['sent']:,} requests, {traffic['flights']:,} flights, {traffic['failed']} failed"
    )
    table.add_row(
        "partitions",
        f"{partitions['published']} published, {partitions['refused']} refused, "
        f"{partitions['redelivered']} redelivered; {summary['rows_quarantined']} rows quarantined",
    )
    table.add_row(
        "Airflow",
        f"{airflow['dag_runs']} runs, {airflow['task_instances']} tasks, {airflow['failed']} failed "
        f"({airflow['failed'] - len(airflow['unexpected'])} on purpose: the refused delivery)",
    )
    table.add_row("this machine", f"{summary['wall_seconds']:.0f} s, peak {summary['peak_pss_mb']:,} MB")
    return table


def _first_model(release: Release) -> dict[str, Any]:
    manifest = artefact.read_manifest(release.model_uri)
    return {
        "version": release.version,
        "auc": round(release.metrics["auc"], 4),
        "log_loss": round(release.metrics["log_loss"], 4),
        "train_rows": manifest["train_rows"],
    }


def _drift(windows: Any, request: Request) -> dict[str, Any]:
    window: Window = next(row for row in windows if row.day == request.detail["newest_day"])
    columns = window.measures["drift"]["columns"]
    return {
        "partition": window.day,
        "drifted_share": window.drifted_share,
        "drifted_columns": sorted(name for name, found in columns.items() if found["state"] == "drifted"),
        "auc": round(window.measures["quality"]["auc"], 4),
        "log_loss": round(window.measures["quality"]["log_loss"], 4),
    }


def _retrain(request: Request, release: Release) -> dict[str, Any]:
    waited = release.serving_at - request.at if release.serving_at else None
    return {
        "request_id": request.id,
        "reason": request.reason,
        "triggered_by": request.triggered_by,
        "seconds_request_to_serving": round(waited.total_seconds(), 1) if waited else None,
        "gate": gate_said(release),
    }


def _second_model(story: Story, old: Release, new: Release, following: list[str]) -> dict[str, Any]:
    pipeline = story.pipeline
    columns = [pipeline.key, pipeline.date, pipeline.training.target, *pipeline.training.features.names]
    rows = lake.read_clean(pipeline.name, following[0], following[-1], columns)
    rows = rows.append_column(LABEL, labels_of(rows, pipeline.training.task, pipeline.training.target))
    rows = rows.filter(rows[LABEL].is_valid())
    days = np.asarray([str(day) for day in rows[pipeline.date].to_pylist()])
    task, labels, (theirs, ours) = task_of(artefact.read_manifest(new.model_uri)).compare(
        rows[LABEL], *(_score(release, rows) for release in (old, new))
    )
    # The loss says what a person gains: order and level of the answers.
    watched = pipeline.gate.model_copy(update={"metric": pipeline.governor.metric})
    found = paired_interval(labels, ours, theirs, days, policy=watched, prices=task.prices(pipeline.gate.costs))
    return {
        "version": new.version,
        "auc": round(new.metrics["auc"], 4),
        "auc_new_on_following_days": round(quality("auc", labels, ours), 4),
        "auc_old_on_same_days": round(quality("auc", labels, theirs), 4),
        f"{watched.metric}_new": round(found.new, 4),
        f"{watched.metric}_old": round(found.old, 4),
        "gain": round(found.gain, 4),
        "gain_interval": [round(found.low, 4), round(found.high, 4)],
        "gain_metric": watched.metric,
        "days": len(following),
        "rows": rows.num_rows,
    }


def _score(release: Release, rows: Any) -> tuple[Task, Any]:
    manifest = artefact.read_manifest(release.model_uri)
    features = artefact.features_of(manifest)
    session = artefact.load_session(release.model_uri, release.sha256)
    columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in features.names}
    return task_of(manifest), artefact.predict(session, columns, features)


def _airflow(story: Story) -> dict[str, Any]:
    runs, tasks = story.airflow.runs(), story.airflow.task_instances()
    failed = [task for task in tasks if task["state"] == "failed"]
    broken = {
        run["dag_run_id"] for run in runs if run["partition_key"] == BROKEN_NIGHT and run["run_type"] == "scheduled"
    }
    return {
        "dag_runs": len(runs),
        "task_instances": len(tasks),
        "failed": len(failed),
        "unexpected": [
            f"{task['dag_id']}.{task['task_id']}"
            for task in failed
            if not (task["task_id"] == "refuse" and task["dag_run_id"] in broken)
        ],
    }
