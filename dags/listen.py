"""
### Listen

Takes messages from a queue that asks for new models (`events` in a pipeline's YAML): each files a retrain request, and
wakes `train` for it. One run waits, deferred, until messages come; the next begins when it has ended.

**On failure**: safe to clear; messages stay in the queue until what they ask for is in the ledger. One that cannot be
read is put aside as an alert. A queue that cannot be reached is named with its connection in the message.
"""

from itertools import groupby

from airflow.sdk import dag
from evergreen.defaults import task_defaults
from evergreen.operators.listen import TakeMessagesOperator

from include.config import load_pipelines
from include.policy import Events


def listen_dag(events: Events, names: list[str]) -> None:
    """Declare the DAG that listens to one queue for some pipelines."""

    @dag(
        dag_id=events.dag_id,
        dag_display_name=f"{events.queue} · listen",
        description=f"Files what messages ask for: {', '.join(names)}.",
        schedule="@continuous",
        max_active_runs=1,
        catchup=False,
        is_paused_upon_creation=False,
        default_args=task_defaults("evergreen"),
        doc_md=__doc__,
        tags=[*names, "stage:listen"],
    )
    def listen() -> None:
        TakeMessagesOperator(
            task_id="take_messages", connection_id=events.connection, queue=events.queue, pipeline_names=names
        )

    listen()


heard = [(pipeline.events, pipeline.name) for pipeline in load_pipelines() if pipeline.events]
for events, sharing in groupby(sorted(heard, key=lambda pair: pair[0].dag_id), key=lambda pair: pair[0]):
    listen_dag(events, [name for _, name in sharing])
