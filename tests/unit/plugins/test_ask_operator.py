from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from include import people

ASKED_AT = datetime(2026, 1, 2, tzinfo=UTC)
CONTEXT = {"ti": SimpleNamespace(id="ti-2", run_id="run-1")}


@pytest.fixture
def ask():
    from evergreen.operators import ask

    return ask


@pytest.fixture
def review(ask, rides):
    return ask.AskPersonOperator(task_id="review", pipeline_name="rides", kind="review", about="rides.drift.d1")


@pytest.fixture
def noted(ask, monkeypatch):
    """What is asked and kept, without Airflow and without a ledger."""
    from airflow.providers.standard.operators.hitl import HITLOperator

    found = SimpleNamespace(asked=[], recorded=[], refusal=None, asked_in="", question=True)

    def question(*_):
        return people.Question("Train?", "why", ASKED_AT, found.asked_in) if found.question else None

    def wait(self, _context):
        raise ask.TaskAwaitingInput(method_name="execute_complete", timeout=None)

    monkeypatch.setattr(people, "question", question)
    monkeypatch.setattr(people, "note_asked", lambda *what: found.asked.append(what))
    monkeypatch.setattr(people, "record", lambda *what: found.recorded.append(what))
    monkeypatch.setattr(people, "refusal", lambda _: found.refusal)
    monkeypatch.setattr(HITLOperator, "execute", wait)
    return found


def test_it_asks_once_and_notes_it_only_when_the_question_is_out(ask, review, noted):
    with pytest.raises(ask.TaskAwaitingInput):
        review.execute(CONTEXT)

    assert noted.asked == [("review", "rides.drift.d1", "run-1")]
    assert (review.subject, review.body) == ("Train?", "why")


def test_a_retry_looks_for_the_answer_and_does_not_ask_again(review, noted):
    from airflow.sdk.exceptions import TaskDeferred

    noted.asked_in = "run-1"

    with pytest.raises(TaskDeferred) as deferred:
        review.execute(CONTEXT)

    trigger = deferred.value.trigger
    assert (trigger.ti_id, trigger.timeout_datetime) == ("ti-2", ASKED_AT + timedelta(hours=24))
    assert deferred.value.method_name == "execute_complete"
    assert noted.asked == []


def test_another_run_for_the_same_request_asks_anew(ask, review, noted):
    noted.asked_in = "run-0"

    with pytest.raises(ask.TaskAwaitingInput):
        review.execute(CONTEXT)


def test_it_goes_on_at_once_where_there_is_nothing_to_ask(review, noted):
    noted.question = False

    assert review.execute(CONTEXT) == "rides.drift.d1"


@pytest.mark.parametrize(("user", "by"), [({"id": "1", "name": "ada"}, "ada"), (None, None)])
def test_it_keeps_who_has_answered_or_that_nobody_has(review, noted, user, by):
    event = {"chosen_options": ["Train"], "params_input": {"note": "go"}, "responded_by_user": user}

    assert review.execute_complete(CONTEXT, {**event, "responded_at": ASKED_AT}) == "rides.drift.d1"

    [(kind, about, answer)] = noted.recorded
    assert (kind, about) == ("review", "rides.drift.d1")
    assert answer == people.Answer("Train", by, ASKED_AT, "go")


def test_a_refused_review_skips_the_training(ask, review, noted):
    noted.refusal = "rides.drift.d1 is failed: ada said no"
    event = {"chosen_options": ["Do not train"], "params_input": {}, "responded_by_user": None}

    with pytest.raises(ask.AirflowSkipException, match="ada said no"):
        review.execute_complete(CONTEXT, {**event, "responded_at": ASKED_AT})
