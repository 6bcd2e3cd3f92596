"""This file is the search for hyper-parameters before a training: trials side by side, then the best of them."""

from typing import Any

from airflow.sdk import TriggerRule, task

from include.pipeline import Pipeline


def search_settings(pipeline: Pipeline, request_id: Any) -> Any:
    """Return the request once settings were looked for, where the YAML has a search and the form asks for it."""
    tuning = pipeline.training.tuning
    if tuning is None:
        return request_id

    @task
    def plan_trials(request_id: str, params: Any = None) -> list[int]:
        from include.training.plan import plan

        if not params["tune"]:
            return []
        plan(pipeline, request_id)
        return list(range(tuning.trials))

    @task(pool="training", max_active_tis_per_dagrun=tuning.at_once, map_index_template="trial {{ number }}")
    def run_trial(number: int, request_id: str) -> None:
        from include.training.spec import model_folder, work_folder
        from include.training.trial_process import run_trial

        run_trial(work_folder(model_folder(pipeline.name, request_id)) / "spec.json", number)

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)  # without a search there are no trials
    def choose_settings(request_id: str, numbers: list[int]) -> str:
        from include.training.trials import choose

        if numbers:
            choose(pipeline.name, request_id)
        return request_id

    numbers: Any = plan_trials(request_id)
    tried = run_trial.partial(request_id=request_id).expand(number=numbers)
    chosen = choose_settings(request_id, numbers)
    tried >> chosen
    return chosen
