"""Three data sets of strangers go from files to a monitored model: Spark, GX, PyTorch, MLflow, endpoint, Evidently."""

import pytest

from bench import new

MOST_EDITED_LINES = 5


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers")
    with new.served(folder):
        yield folder


@pytest.mark.parametrize("name", new.DATA_SETS)
def test_a_strangers_files_become_a_monitored_model_without_python(installation, name):
    about = new.DATA_SETS[name]

    story = new.tell(name, installation)

    assert story.edited_lines <= MOST_EDITED_LINES
    assert story.refused == {}, "the expectations that were guessed must hold for what comes next"
    assert story.first.action == "retrain", story.first.reason
    assert story.release.status == "approved", story.release.note
    assert {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}[about.task] in story.release.metrics
    assert story.window.rows == len(story.answers) == story.window.labelled
    assert story.window.quality is not None
    assert story.window.drifted_share is not None
    assert "version 1" in story.status
    assert story.window.day in story.status
