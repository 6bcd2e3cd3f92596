"""This file says what a stage has made of what, with versions: snapshots of the table, versions of the model."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from include.ledger import Decision, Publication, Release, Request, nights, open_ledger, releases
from include.partition import run_key_of


@dataclass(frozen=True)
class Thing:
    """A data set, a model or an endpoint, and which version of it."""

    name: str
    version: str


@dataclass(frozen=True)
class Lineage:
    """What a stage has read and what it has made."""

    inputs: tuple[Thing, ...] = ()
    outputs: tuple[Thing, ...] = ()


def lineage_of(dag_id: str, task_id: str, run_id: str, partition_key: str | None) -> Lineage:
    """Return what a task that has ended has read and made, by the ledger; nothing for a task that announces nothing."""
    pipeline, _, stage = dag_id.rpartition("__")
    look = _STAGES.get((stage, task_id))
    if look is None:
        return Lineage()
    with open_ledger() as session:
        return look(session, pipeline, run_key_of(run_id), partition_key)


def _published(session: Session, pipeline: str, run_key: str, _key: str | None) -> Lineage:
    publication = nights.publication_of_run(session, pipeline, run_key)
    if publication is None:
        return Lineage()
    days = f"{min(publication.days)} to {max(publication.days)}"
    return Lineage((Thing(f"{pipeline}.deliveries", days),), (Thing(f"{pipeline}.clean", publication.snapshot_id),))


def _decided(session: Session, pipeline: str, run_key: str, key: str | None) -> Lineage:
    publication_id = key or f"{pipeline}.{run_key}"
    publication, decision = session.get(Publication, publication_id), session.get(Decision, publication_id)
    champion = releases.champion_of(session, pipeline)
    read = [Thing(f"{pipeline}.clean", publication.snapshot_id)] if publication else []
    read += [Thing(f"{pipeline}.model", str(champion.version))] if champion else []
    made = [Thing(f"{pipeline}.retrain", decision.request_id)] if decision and decision.request_id else []
    return Lineage(tuple(read), tuple(made))


def _trained(session: Session, pipeline: str, run_key: str, _key: str | None) -> Lineage:
    claimed = select(Request.id).where(Request.pipeline == pipeline, Request.claimed_by == run_key)
    release = session.scalar(select(Release).where(Release.request_id.in_(claimed)))
    if release is None:
        return Lineage()
    from include.artefact import read_manifest  # ONNX Runtime comes along

    snapshot_id = str(read_manifest(release.model_uri)["snapshot_id"])
    return Lineage((Thing(f"{pipeline}.clean", snapshot_id),), (Thing(f"{pipeline}.model", str(release.version)),))


def _promoted(session: Session, pipeline: str, _run_key: str, key: str | None) -> Lineage:
    release = session.get(Release, key) if key else releases.champion_of(session, pipeline)
    if release is None:
        return Lineage()
    version = str(release.version)
    return Lineage((Thing(f"{pipeline}.model", version),), (Thing(f"{pipeline}.endpoint", version),))


_STAGES: dict[tuple[str, str], Callable[[Session, str, str, str | None], Lineage]] = {
    ("ingest", "publish"): _published,
    ("monitor", "decide"): _decided,
    ("train", "register"): _trained,
    ("deploy", "promote"): _promoted,
}
