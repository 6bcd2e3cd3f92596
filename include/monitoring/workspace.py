"""This file keeps Evidently's snapshots of the newest windows for `evidently ui`, a project per pipeline."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from include import atomic
from include.learning.task import PREDICTION
from include.pipeline import Pipeline
from include.settings import load_settings

if TYPE_CHECKING:
    from evidently.core.report import Snapshot


def keep(pipeline: Pipeline, day: str, version: int, snapshot: "Snapshot") -> None:
    """Keep a window's snapshot, in place of an older one of it, and let go of what is beyond the newest so many.

    The files are those of `evidently.ui.workspace.Workspace`, which gives a snapshot a new id each time: a day measured
    again would be there twice. It is shown at the day it is about, not at the moment it was measured.
    """
    most = pipeline.monitoring.evidently_snapshots
    if not most:
        return
    # Imported here: Evidently takes seconds, and most publications have nothing to measure.
    from evidently.legacy.utils import NumpyEncoder  # noqa: PLC0415

    project = project_of(pipeline.name)
    folder = workspace() / str(project) / "snapshots"
    if not folder.is_dir():
        _begin(pipeline, project)
    name = f"{day} v{version}"
    content = {**snapshot.to_snapshot_model().dict(), "name": name, "timestamp": datetime.fromisoformat(day)}
    atomic.write_text(folder / f"{uuid5(project, name)}.json", json.dumps(content, cls=NumpyEncoder))
    written = sorted(folder.glob("[!.]*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in written[:-most]:
        path.unlink(missing_ok=True)


def workspace() -> Path:
    """Return the folder to be opened by `evidently ui --workspace`."""
    return load_settings().data / "evidently"


def project_of(pipeline_name: str) -> UUID:
    """Return the id of a pipeline's project, always the same."""
    return uuid5(NAMESPACE_URL, f"evergreen:{pipeline_name}")


def _begin(pipeline: Pipeline, project: UUID) -> None:
    from evidently.sdk.models import DashboardModel, DashboardTabModel, PanelMetric, ProjectModel  # noqa: PLC0415
    from evidently.sdk.panels import line_plot_panel  # noqa: PLC0415
    from evidently.ui.storage.local.base import LocalState  # noqa: PLC0415

    drift = PanelMetric(metric="ValueDrift", metric_labels={"column": PREDICTION}, legend=PREDICTION)
    panel = line_plot_panel("Drift of the prediction (effect size)", [drift])
    tab = DashboardTabModel(title="Evergreen", panels=[panel.id])
    workspace().mkdir(parents=True, exist_ok=True)
    state = LocalState(str(workspace()))
    state.write_project(ProjectModel(id=project, name=pipeline.name, description=pipeline.description))
    state.write_dashboard(project, DashboardModel(tabs=[tab], panels=[panel]))
    (workspace() / str(project) / "snapshots").mkdir(exist_ok=True)
