import json
import re

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from include import messages
from include.errors import BadMessageError
from include.ledger import Alert, Request, open_ledger, requests
from include.messages import Message, Wish

NAMES = ["rides", "returns"]


def message(key: str = "m1", **content) -> Message:
    return Message(key, json.dumps({"pipeline": "rides", "reason": "new carriers", **content}), f"receipt of {key}")


def rows(table) -> list:
    with open_ledger() as session:
        return list(session.scalars(select(table)))


def test_a_message_files_a_request_with_what_it_asks_for(settings):
    assert messages.take("retrain", NAMES, [message(window_days=30)]) == {"rides": ["rides.message.m1"]}

    [request] = rows(Request)
    assert (request.pipeline, request.triggered_by, request.reason) == ("rides", "message", "new carriers")
    assert request.detail == {"window_days": 30, "message_id": "m1"}


def test_a_message_delivered_again_files_nothing_and_wakes_again_while_its_request_is_open(settings):
    for _ in range(2):
        assert messages.take("retrain", NAMES, [message(), message()]) == {"rides": ["rides.message.m1"]}
    with open_ledger() as session:
        requests.claim_request(session, "rides.message.m1", "run-1")

    assert messages.take("retrain", NAMES, [message()]) == {"rides": []}
    assert len(rows(Request)) == 1


def test_a_message_sent_twice_is_known_by_its_senders_id(settings):
    sent = [message("m1", id="order-7"), message("m2", id="order-7")]

    assert messages.take("retrain", NAMES, sent) == {"rides": ["rides.message.order-7"]}


def test_a_message_that_cannot_be_read_is_put_aside_once_and_takes_no_other_down(settings):
    for _ in range(2):
        woken = messages.take("retrain", NAMES, [Message("bad", "retrain!", "r"), message()])

    assert woken == {"rides": ["rides.message.m1"]}
    [aside] = rows(Alert)
    assert (aside.id, aside.kind, aside.detail["body"]) == ("message.retrain.bad", "message", "retrain!")
    assert "(whole message)" in aside.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"pipeline": "ride", "reason": "new carriers"}', "Did you mean 'rides'?"),
        ('{"reason": "new carriers"}', "'pipeline' is missing"),
        ('{"pipeline": "rides", "reasons": "new carriers"}', "Did you mean 'reason'?"),
        ('{"pipeline": "rides", "reason": "new carriers", "epochs": "6"}', "'epochs'"),
        ('{"pipeline": "rides", "reason": "new carriers", "id": "../../etc"}', "'id'"),
        ("[]", "(whole message)"),
    ],
)
def test_what_is_wrong_with_a_message_is_said_in_words(body, says):
    with pytest.raises(BadMessageError) as error:
        messages.read(body, NAMES)

    assert says in str(error.value)
    assert "Traceback" not in str(error.value)


def test_where_one_pipeline_listens_its_messages_need_not_name_it():
    assert messages.read('{"reason": "new carriers"}', ["rides"])[0] == "rides"


@hypothesis.settings(max_examples=60, deadline=None)
@given(st.text() | st.dictionaries(st.sampled_from([*Wish.model_fields, "no"]), st.none() | st.text()).map(json.dumps))
def test_whatever_comes_is_read_or_refused_in_words(body):
    try:
        name, wish = messages.read(body, NAMES)
    except BadMessageError as error:
        assert re.match(r"'[^']*'", str(error))  # noqa: PT017 - either is right
    else:
        assert name in NAMES
        assert wish.reason
