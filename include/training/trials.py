"""This file takes the best of a request's trials into its training, and shows them all in MLflow."""

import json
import logging

from include import atomic, registry
from include.training.spec import model_folder, read_spec, work_folder
from include.training.tuning import best_of, study_of

log = logging.getLogger(__name__)


def choose(pipeline_name: str, request_id: str) -> None:
    """Write down the best trial's hyper-parameters for the training's plan.

    :raises ConfigError: if no trial has come to its end.
    """
    spec = read_spec(work_folder(model_folder(pipeline_name, request_id)) / "spec.json")
    best = best_of(spec)
    atomic.write_text(spec.work / "tuned.json", json.dumps(best))
    found = study_of(spec).get_trials(deepcopy=False)
    trials = [{"params": each.params, "loss": each.value, "state": each.state.name.lower()} for each in found]
    registry.log_trials(pipeline_name, request_id, trials)
