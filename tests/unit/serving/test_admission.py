"""Who may ask: by the whole endpoint, with a model that is loaded."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from include.serving.keys import keys_path, revoke_key, rotate_key

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
A_WHILE = timedelta(days=36500)


def refusals(client):
    lines = client.get("/metrics").text.splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if "refusals_total{" in line}


def test_without_a_key_everybody_may_ask(still, ask):
    assert ask(still).status_code == 200


def test_from_the_first_key_on_one_is_needed_and_no_restart(still, ask, give_key):
    token = give_key()

    assert ask(still).status_code == 401
    assert ask(still, token).status_code == 200
    assert ask(still, **{"X-API-Key": token}).status_code == 200
    assert ask(still, Authorization=f"bearer {token}").status_code == 200


def test_the_file_is_looked_at_twice_a_second_and_not_with_every_request(still, ask, give_key, monkeypatch):
    monkeypatch.setattr("include.serving.keyring.LOOK_SECONDS", 3600)
    assert ask(still).status_code == 200
    give_key()
    assert ask(still).status_code == 200, "not looked at yet"

    monkeypatch.setattr(still.app.endpoint.admission._keyring, "_look_at", 0.0)
    assert ask(still).status_code == 401


def test_ping_and_metrics_need_no_key(still, give_key):
    give_key()

    assert still.get("/ping").status_code == 200
    assert still.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "no_key"),
        ({"X-API-Key": ""}, "no_key"),
        ({"Authorization": "Bearer "}, "no_key"),
        ({"Authorization": "Basic c2hvcDpzaG9w"}, "no_key"),
        ({"X-API-Key": "guessed"}, "bad_key"),
        ({"Authorization": "Bearer guessed"}, "bad_key"),
    ],
)
def test_no_key_and_a_wrong_one_are_told_what_to_do_and_counted(still, ask, give_key, headers, reason):
    give_key()

    refused = ask(still, **headers)

    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "key" in refused.json()["error"]
    assert refusals(still) == {f'evergreen_refusals_total{{pipeline="rides",reason="{reason}"}}': 1.0}


def test_who_has_no_key_is_not_told_which_pipelines_there_are(still, ask, give_key):
    give_key()

    refused = ask(still, path="/invocations/trains")

    assert refused.status_code == 401
    assert "rides" not in refused.text


def test_a_rotated_key_is_taken_until_its_overlap_ends(settings, still, ask, give_key):
    first = give_key()
    second = rotate_key(settings, "shop", overlap=A_WHILE, now=NOW)
    assert {ask(still, token).status_code for token in (first, second)} == {200}

    third = rotate_key(settings, "shop", overlap=timedelta(seconds=1), now=NOW)

    assert ask(still, first).status_code == 401
    assert "has replaced it" in ask(still, second).json()["error"]
    assert ask(still, third).status_code == 200


@pytest.mark.parametrize("others", [["other"], []])
def test_a_revoked_key_is_worthless_at_once_and_the_last_one_opens_no_door(settings, still, ask, give_key, others):
    token = give_key()
    for name in others:
        give_key(name)
    assert ask(still, token).status_code == 200

    revoke_key(settings, "shop")

    assert ask(still, token).status_code == 401
    assert ask(still).status_code == 401


@pytest.mark.parametrize(("path", "status"), [("/invocations/rides", 200), ("/invocations/trains", 403)])
def test_a_key_of_one_pipeline_may_ask_no_other(still, ask, give_key, path, status):
    token = give_key(pipelines=["rides"])

    assert ask(still, token, path).status_code == status


def test_a_key_of_one_pipeline_has_to_name_it(still, ask, give_key):
    refused = ask(still, give_key(pipelines=["rides"]), "/invocations")

    assert refused.status_code == 403
    assert "'rides'" in refused.json()["error"]


def test_beyond_its_rate_a_key_is_told_when_to_come_back(still, ask, give_key):
    token, other = give_key(rate="2/hour"), give_key("other", rate="2/hour")

    assert [ask(still, token).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(still, token)
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    assert "may ask 2/hour" in refused.json()["error"]
    assert ask(still, other).status_code == 200, "another key has a rate of its own"


def test_both_tokens_of_a_rotated_key_share_its_rate(settings, still, ask, give_key):
    first = give_key(rate="2/hour")
    second = rotate_key(settings, "shop", overlap=A_WHILE, now=NOW)

    assert [ask(still, token).status_code for token in (first, second, first)] == [200, 200, 429]


@pytest.mark.parametrize("before", [True, False])
def test_keys_that_cannot_be_read_let_nobody_new_in(settings, still, ask, give_key, before, caplog):
    token = give_key()
    if before:
        assert ask(still, token).status_code == 200
    path = keys_path(settings)
    good = path.read_text()
    path.write_text('{"keys":')

    assert ask(still).status_code == (401 if before else 503)
    assert ask(still, token).status_code == (200 if before else 503)
    assert sum("not readable as keys" in record.getMessage() for record in caplog.records) == 1, "said once"

    path.write_text(good)
    assert ask(still, token).status_code == 200


@hypothesis(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["Authorization", "X-API-Key", "Content-Type", "Content-Length", "Cookie"]),
    scheme=st.sampled_from([b"", b"Bearer ", b"Basic ", b"bearer\t"]),
    value=st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n\0")),
)
def test_no_header_whatsoever_lets_anybody_in_or_breaks_anything(settings, still, give_key, name, scheme, value):
    if not keys_path(settings).exists():
        give_key()

    refused = still.post("/invocations/rides", content=b"{}", headers=[(name.encode(), scheme + value)])

    assert refused.status_code == 401
