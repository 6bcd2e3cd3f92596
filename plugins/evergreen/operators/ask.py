"""This file waits for a person's word, in Airflow's "Required Actions"; nothing runs and no slot is held meanwhile."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.triggers.hitl import HITLTrigger
from airflow.sdk import Param
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from include import people
from include.config import load_pipeline
from include.pipeline import Pipeline


class AskPersonOperator(HITLOperator):
    """Ask a person about a request or a release, unless the ledger says that none is to be asked.

    Returns what it was asked about; a refused review skips what follows, a refused approval rejects the release.

    An answer within a second of the question can make Airflow fail this task although it has kept the answer: the
    retry looks for that answer instead of asking again (docs/decisions/0013).

    :param pipeline_name: the pipeline whose YAML says how long to wait, and what silence means.
    :param kind: review (before a training) or approval (before a release takes traffic).
    :param about: id of the request or release (templated).
    """

    template_fields: Sequence[str] = ("about",)

    def __init__(self, *, pipeline_name: str, kind: people.Kind, about: str, **kwargs: Any) -> None:
        pipeline = load_pipeline(pipeline_name)
        super().__init__(
            subject=kind,
            options=list(people.OPTIONS[kind]),
            defaults=people.default_option(pipeline, kind),
            params={"note": Param("", type="string", description="Why; kept with the answer.")},
            response_timeout=timedelta(hours=pipeline.people.timeout_hours),
            **kwargs,
        )
        self.pipeline_name = pipeline_name
        self.kind = kind
        self.about = about

    def execute(self, context: Any) -> str:
        """Ask, and wait; go on at once if there is nothing to ask, or an answer already."""
        pipeline, ti = load_pipeline(self.pipeline_name), context["ti"]
        question = people.question(pipeline, self.kind, self.about, conf.get("api", "base_url", fallback=""))
        if question is None:
            return self._go_on()
        if question.asked_in == ti.run_id:
            self._look_for_the_answer(ti.id, question.asked_at)
        self.subject, self.body = question.subject, question.body
        try:
            super().execute(context)
        except TaskAwaitingInput:
            people.note_asked(self.kind, self.about, ti.run_id)
            raise
        raise AssertionError("HITLOperator went on without an answer")

    def _look_for_the_answer(self, ti_id: Any, asked_at: datetime) -> None:
        # Asking again would erase it. Only a trigger can read it: Airflow lets no task do so.
        trigger = HITLTrigger(
            ti_id=ti_id,
            options=self.options,
            defaults=self.defaults,
            params=self.serialized_params,
            timeout_datetime=asked_at + self.response_timeout if self.response_timeout else None,
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:
        """Keep the answer."""
        answer = super().execute_complete(context, event)
        user = answer["responded_by_user"]
        at = answer["responded_at"]
        people.record(
            self.kind,
            self.about,
            people.Answer(
                option=answer["chosen_options"][0],
                by=user["name"] if user else None,
                at=at if isinstance(at, datetime) else datetime.fromisoformat(at),
                note=answer["params_input"].get("note", ""),
            ),
        )
        return self._go_on()

    def _go_on(self) -> str:
        if self.kind == "review" and (why := people.refusal(self.about)):
            raise AirflowSkipException(why)
        return self.about


def ask_person(pipeline: Pipeline, kind: people.Kind, about: Any) -> Any:
    """Declare the question of a pipeline whose YAML wants it, after what is asked about; else return just that."""
    if not people.asks(pipeline, kind):
        return about
    task_id = "review" if kind == "review" else "approve"
    return AskPersonOperator(task_id=task_id, pipeline_name=pipeline.name, kind=kind, about=about).output
