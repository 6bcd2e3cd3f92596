"""This file holds what all tasks have in common: owner, retries with backoff for what is transient, time-out, alert."""

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import TaskDeferralTimeout

from evergreen.alerts import CONNECTION, AlertNotifier
from include.pipeline import Pipeline


def task_defaults(owner: str, alerts: str = CONNECTION) -> dict[str, Any]:
    """Return `default_args`: bad data and bad settings (any ValueError) fail at once, all else is tried again."""
    return {
        "owner": owner,
        "retries": 3,
        "retry_delay": timedelta(seconds=2),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": ExceptionRetryPolicy(
            rules=[
                RetryRule(exception=ValueError, action=RetryAction.FAIL, reason="another try cannot mend bad data"),
                RetryRule(exception=TaskDeferralTimeout, action=RetryAction.FAIL, reason="waited long enough"),
            ]
        ),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": AlertNotifier(alerts),
    }


def dag_defaults(pipeline: Pipeline, stage: str) -> dict[str, Any]:
    """Return the arguments that every stage's `@dag` shares."""
    return {
        "dag_id": f"{pipeline.name}__{stage}",
        "dag_display_name": f"{pipeline.name} · {stage}",
        "description": pipeline.description,
        "tags": [pipeline.name, f"stage:{stage}"],
        "default_args": task_defaults(pipeline.owner, pipeline.alerts.connection),
        "render_template_as_native_obj": True,
    }
