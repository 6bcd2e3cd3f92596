"""This file finds a learning task by its name in the YAML, or as a manifest remembers it."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from include.errors import ConfigError
from include.learning.binary import Binary
from include.learning.metrics import TaskName
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.learning.task import Task

KINDS: dict[TaskName, type[Task]] = {kind.name: kind for kind in (Binary, Multiclass, Regression)}


def task_of(manifest: Mapping[str, Any]) -> Task:
    """Return the task of the model that a manifest describes, with what its training found out."""
    about = dict(manifest["task"])
    return KINDS[about.pop("name")](**about)


def labels_of(table: pa.Table, name: TaskName, target: str) -> pa.ChunkedArray:
    """Return the target column of a clean table as labels are kept in files.

    :raises ConfigError: if the column cannot be this task's target.
    """
    try:
        return KINDS[name].labels(table[target])
    except ConfigError as error:
        raise ConfigError(f"'training.target' is '{target}', {error}") from error
