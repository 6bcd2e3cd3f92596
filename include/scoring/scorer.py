"""This file chooses the release that scores, and packs what an executor needs of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from include.artefact import features_of, read_checked, read_manifest
from include.errors import StaleReleaseError
from include.learning.kinds import task_of
from include.learning.task import Task
from include.ledger import Release, open_ledger, releases
from include.pipeline import Pipeline
from include.recipe import Features


@dataclass(frozen=True)
class Scorer:
    """A model on its way to the executors: the graph's own bytes, so that they need not reach the models' folder."""

    version: int
    key: str
    date: str
    features: Features
    task: Task
    content: bytes

    @property
    def columns(self) -> list[str]:
        """Return the columns of the clean table that are read."""
        return list(dict.fromkeys([self.key, self.date, *self.features.names]))


def scorer_of(pipeline: Pipeline, version: int | None = None) -> Scorer:
    """Return a version's model (the champion's, if none is named), after making sure that it is the one registered.

    :raises StaleReleaseError: if there is no such version, or its model was removed.
    :raises ArtefactError: if the file is missing or is another one.
    """
    with open_ledger() as session:
        release = choose(releases.releases_of(session, pipeline.name), pipeline.name, version)
    manifest = read_manifest(release.model_uri)
    return Scorer(
        version=release.version,
        key=pipeline.key,
        date=pipeline.date,
        features=features_of(manifest),
        task=task_of(manifest),
        content=read_checked(release.model_uri, release.sha256),
    )


def choose(known: Sequence[Release], pipeline_name: str, version: int | None) -> Release:
    """Return the release of a version, or the champion.

    :raises StaleReleaseError: if there is none, or its model was removed.
    """
    listed = ", ".join(f"v{release.version} {release.status}" for release in known) or "none"
    for release in known:
        if release.status == "champion" if version is None else release.version == version:
            break
    else:
        wanted = "champion" if version is None else f"version {version}"
        what_to_do = "Name one of these versions, or train and deploy" if known else "Train and deploy"
        raise StaleReleaseError(f"'{pipeline_name}' has no {wanted}. Releases: {listed}. {what_to_do} a model first.")
    if release.status == "removed":
        raise StaleReleaseError(
            f"Version {version} of '{pipeline_name}' scores no more: its model was removed (`retention.models_days`). "
            f"Name another version. Releases: {listed}."
        )
    return release
