"""This file finds out what each repair of the champion would gain now: from the lake, the ledger and kept models."""

import json
import logging
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import artefact, atomic
from include.errors import ArtefactError, NotEnoughDataError
from include.evaluation import quality
from include.learning.kinds import KINDS
from include.learning.scoring import Floats
from include.learning.task import LABEL, Task
from include.ledger import Release, nights, open_ledger, releases
from include.pipeline import Pipeline
from include.repairs.estimate import FEWEST_DAYS, LOSS, Answers, Estimate, Labelled, corrected_by_others, estimate
from include.repairs.recent import Model, as_answers, in_common_terms, read_labelled, read_model
from include.repairs.scout import scout
from include.settings import load_settings
from include.training.data import feature_columns

log = logging.getLogger(__name__)


def estimates(pipeline: Pipeline) -> list[Estimate]:
    """Return what each repair promises; nothing without a champion, or with too few labelled days to judge by."""
    policy = pipeline.governor.repairs
    with open_ledger() as session:
        champion = releases.champion_of(session, pipeline.name)
        former = releases.releases_of(session, pipeline.name, "retired")
        if champion is None:
            return []
        try:
            model = read_model(champion.model_uri, champion.sha256)
        except ArtefactError as error:
            log.warning("What a repair would gain is not known: %s", error)
            return []
        known = nights.labelled_days(session, pipeline.name)
    days = [day for day in known if day > model.learned_until][-policy.window_days :]
    if len(days) < FEWEST_DAYS or model.task.name != pipeline.training.task:
        log.info("What a repair would gain is not known: %s labelled days after the champion's training.", len(days))
        return []
    others = _former(former[: pipeline.retention.former_champions], model)
    rows = _rows_for(pipeline, days, [model, *others.values()])
    return _estimate(pipeline, rows, model, others, [day for day in known if day < days[0]])


def _estimate(
    pipeline: Pipeline, rows: pa.Table, model: Model, former: dict[int, Model], before: Sequence[str]
) -> list[Estimate]:
    policy = pipeline.governor.repairs
    asked: dict[object, tuple[Task, Floats]] = {
        "now": (model.task, model.answer(rows, corrected=True)),
        "champion": (model.task, model.answer(rows, corrected=False)),
        **{version: (other.task, other.answer(rows, corrected=False)) for version, other in former.items()},
    }
    learned = before[-pipeline.training.window_days :]
    if policy.retrain is not None and learned and learned[-1] > model.learned_until:
        answered = _ask_scout(pipeline, learned, rows, None)
        if answered:
            asked["scout"] = answered
    task, labels, found = in_common_terms(rows, asked, model.task)
    labelled = Labelled(task.name, labels, rows[pipeline.date].to_numpy(zero_copy_only=False).astype(str))
    return estimate(
        labelled,
        as_answers(model, found["champion"]),
        found["now"],
        policy,
        former={version: as_answers(other, found[version]) for version, other in former.items()},
        scout=Answers(found["scout"], learned[-1]) if "scout" in asked else None,
        handicap=_handicap(pipeline, model) if "scout" in asked else 0.0,
    )


def _former(former: Sequence[Release], model: Model) -> dict[int, Model]:
    """Return past champions with networks of their own, newest first; one that was only recalibrated is the same."""
    networks, found = {model.network}, {}
    for release in former:
        try:
            other = read_model(release.model_uri, release.sha256)
        except ArtefactError:
            continue  # it was removed, as `retention` says
        if other.network not in networks and other.task.name == model.task.name:
            networks.add(other.network)
            found[release.version] = other
    return found


def _rows_for(pipeline: Pipeline, days: Sequence[str], models: Sequence[Model]) -> pa.Table:
    columns = {name for model in models for name in artefact.features_of(model.manifest).names}
    wanted = sorted(columns | set(pipeline.training.features.names))
    return read_labelled(pipeline, days, wanted, rows_per_day=pipeline.monitoring.sample_rows)


def _ask_scout(
    pipeline: Pipeline, days: Sequence[str], rows: pa.Table, snapshot_id: str | None
) -> tuple[Task, Floats] | None:
    training, policy = pipeline.training, pipeline.governor.repairs
    per_day = -(-policy.scout_rows // len(days))
    window = read_labelled(pipeline, days, training.features.names, rows_per_day=per_day, snapshot_id=snapshot_id)
    if len(window) < training.min_rows or len(pc.unique(window[LABEL])) < 2:
        return None
    task = KINDS[training.task].learn(window[LABEL])
    learned = (feature_columns(window, training.features), task.encode(window[LABEL]))
    asked = feature_columns(rows, training.features)
    return task, scout(task, learned, asked, training.features, policy.scout_rows)


def _handicap(pipeline: Pipeline, model: Model) -> float:
    """Return by which share of the loss a quick learner beat this model on its own hold-out, from the same days.

    Where boosted trees suit the data better than the network, newer data are not what the difference comes from.
    Computed once for each network and kept; 0 where it cannot be known.
    """
    path = load_settings().lake / pipeline.name / "reports" / "drift" / f"handicap-{model.network[:12]}.json"
    if path.exists():
        return float(json.loads(path.read_text()))
    try:
        found = max(0.0, _advantage(pipeline, model))
    except (ArtefactError, NotEnoughDataError, KeyError, OSError) as error:
        log.warning("How the quick learner compares with the champion's kind is not known: %s", error)
        return 0.0
    atomic.write_text(path, json.dumps(found))
    return found


def _advantage(pipeline: Pipeline, model: Model) -> float:
    first, last = model.manifest["recipe_days"]
    rows = pq.ParquetFile(model.folder / artefact.HOLDOUT).read()
    with open_ledger() as session:
        days = nights.labelled_days(session, pipeline.name)
    days = [day for day in days if first <= day <= last]
    answered = _ask_scout(pipeline, days, rows, model.manifest["snapshot_id"]) if days else None
    if answered is None:
        return 0.0
    asked = {"model": (model.task, artefact.judged(rows, model.task)), "scout": answered}
    task, labels, found = in_common_terms(rows, asked, model.task)
    labelled = Labelled(task.name, labels, rows[pipeline.date].to_numpy(zero_copy_only=False).astype(str))
    doubt = pipeline.governor.repairs.doubt_days
    mine, theirs = (
        quality(LOSS[task.name], labels, corrected_by_others(labelled, np.asarray(found[name]), doubt))
        for name in ("model", "scout")
    )
    return (mine - theirs) / mine
