"""This file looks for better hyper-parameters: one trial per call, in a study that any process can go on with.

`python -m include.training.tuning SPEC NUMBER` runs a trial (Akiba et al. 2019, "Optuna"). A trial is judged by the
newest tenth of the training window; the hold-out, which the gate judges by, is never looked at.
"""

import logging
import sys
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from include.accelerators import use
from include.errors import ConfigError, TrainingFailedError
from include.evaluation import quality
from include.learning.metrics import GOVERNOR_DEFAULT
from include.learning.scoring import Floats
from include.learning.task import Task
from include.recipe import Training, Tuning
from include.training import data
from include.training.data import window_of
from include.training.frameworks import framework
from include.training.rows import fetch
from include.training.run import set_aside
from include.training.spec import Spec, read_spec

log = logging.getLogger(__name__)

NUMBER = "number"  # of the task that runs a trial: a task that is tried again takes its place
STARTS, WARM_UP = 3, 1  # trials and epochs before any trial is cut short


def run_trial(spec: Spec, number: int) -> FrozenTrial:
    """Run the trial of a number, unless it has been, and return how it ended; a bad one is cut short."""
    study = study_of(spec)
    for known in study.get_trials(deepcopy=False):
        if known.user_attrs.get(NUMBER) == number and known.state in (TrialState.COMPLETE, TrialState.PRUNED):
            return known
        if known.user_attrs.get(NUMBER) == number and known.state == TrialState.RUNNING:
            study.tell(known.number, state=TrialState.FAIL)  # its process was killed
    trial = study.ask()
    trial.set_user_attr(NUMBER, number)
    training = suggested(trial, spec.training)
    log.info("Trial %s: %s", number, trial.params)
    try:
        study.tell(trial, _loss(spec, training, trial))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except TrainingFailedError as error:  # such settings do not work: that is a result
        log.warning("%s", error)
        study.tell(trial, state=TrialState.FAIL)
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    ended = study.trials[trial.number]
    log.info("Trial %s ended as %s: %s", number, ended.state.name.lower(), ended.value)
    return ended


def best_of(spec: Spec) -> dict[str, Any]:
    """Return the best trial's hyper-parameters.

    :raises ConfigError: if no trial has come to its end.
    """
    study = study_of(spec)
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise ConfigError(f"No trial of {spec.request_id} has come to its end: look at their logs, or train untuned.")
    best = study.best_trial
    log.info("Best of %s trials: %s (loss %.5f)", len(study.trials), best.params, best.value)
    return _plain(best.params)


def study_of(spec: Spec) -> optuna.Study:
    """Return the study of a request, which lies beside its model."""
    spec.work.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=spec.request_id,
        storage=JournalStorage(JournalFileBackend(str(spec.work / "tuning.journal"))),
        sampler=optuna.samplers.TPESampler(seed=spec.training.seed, n_startup_trials=STARTS, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTS, n_warmup_steps=WARM_UP),
        load_if_exists=True,
    )


def suggested(trial: Trial, training: Training) -> Training:
    """Return the training with hyper-parameters that the study suggests."""
    if training.tuning is None:
        raise ConfigError("'training.tuning' is missing: say which hyper-parameters to look for, and where.")
    chosen: dict[str, Any] = {}
    for name, space in training.tuning.search.items():
        if space.choices:
            # Optuna keeps choices as text where they are lists.
            chosen[name] = trial.suggest_categorical(name, [str(choice) for choice in space.choices])
        elif isinstance(space.low, int) and isinstance(space.high, int):
            chosen[name] = trial.suggest_int(name, space.low, space.high, log=space.log)
        else:
            chosen[name] = trial.suggest_float(name, float(space.low or 0), float(space.high or 0), log=space.log)
    return Training.model_validate({**training.model_dump(), **_plain(chosen), "patience": None})


def _loss(spec: Spec, training: Training, trial: Trial) -> float:
    trains = framework(training.framework)
    trains.make_deterministic(training.seed, spec.accelerator.threads)
    learned, aside = set_aside(fetch(spec).span(*spec.train_days))
    ready, checked = data.make_ready(learned, spec), window_of(aside.table(), spec)
    trainer = trains.build(training, ready.layout, ready.task, ready.labels)
    losses: list[float] = []
    judge = partial(_report, trial, ready.task, data.as_floats(ready.task, checked.labels), losses)
    trainer.fit(ready.batches(training), ready.seen_by_network(checked), judge)
    return losses[-1]


def _report(
    trial: Trial, task: Task, labels: Floats, losses: list[float], predictions: npt.NDArray[np.float32]
) -> dict[str, float]:
    """Tell the study an epoch's loss.

    :raises optuna.TrialPruned: if others were better at this point.
    """
    losses.append(quality(GOVERNOR_DEFAULT[task.name], labels, predictions.astype(np.float64)))
    trial.report(losses[-1], len(losses))
    if trial.should_prune():
        raise optuna.TrialPruned
    return {}


def _plain(chosen: dict[str, Any]) -> dict[str, Any]:
    return {name: Tuning.choice(value) if isinstance(value, str) else value for name, value in chosen.items()}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    asked = read_spec(sys.argv[1])
    use(asked.accelerator)
    run_trial(asked, int(sys.argv[2]))
