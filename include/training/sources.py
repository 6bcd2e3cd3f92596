"""This file finds the spec of a training where a platform leaves it: a file, the environment, or SageMaker's folders.

SageMaker tells a container by environment variables where its folders are and what the hyper-parameters are:
https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

import json
import os
from pathlib import Path
from typing import Any

from include.errors import ConfigError
from include.training.spec import Spec, parse_spec, read_spec

VARIABLE = "EVERGREEN_SPEC"
CHANNEL = "SM_CHANNEL_SPEC"


def find_spec(arguments: list[str]) -> Spec:
    """Return the spec: the file that is named, or what the environment holds.

    :raises ConfigError: if there is none, or it is none.
    """
    if arguments:
        return read_spec(arguments[0])
    if text := os.environ.get(VARIABLE):
        return parse_spec(text, f"${VARIABLE}")
    if folder := os.environ.get(CHANNEL):
        return _of_sagemaker(Path(folder) / "spec.json")
    raise ConfigError(
        "No spec: name a file (`python -m include.training SPEC`, written by include.training.plan), or set "
        f"{VARIABLE} to its text, or give SageMaker's channel 'spec' a spec.json."
    )


def _of_sagemaker(path: Path) -> Spec:
    spec, env = read_spec(path), os.environ
    changes: dict[str, Any] = {}
    if folder := env.get("SM_MODEL_DIR"):
        changes["folder"] = Path(folder)
    if folder := env.get("SM_CHECKPOINT_DIR"):
        changes["checkpoints"] = folder
    if folder := env.get("SM_CHANNEL_ROWS"):
        changes["rows"] = Path(folder)
    if hyper := json.loads(env.get("SM_HPS", "{}")):
        # SageMaker passes every value as text, the toolkit decodes what is JSON.
        changes["training"] = {**spec.training.model_dump(mode="json"), **hyper}
    return parse_spec(json.dumps({**json.loads(spec.model_dump_json()), **_plain(changes)}), "SageMaker's environment")


def _plain(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in changes.items()}
