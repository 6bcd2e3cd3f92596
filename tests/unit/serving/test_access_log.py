import json

import pytest
from fastapi.testclient import TestClient

from include.serving import access_log
from include.serving.access_log import AccessLog
from include.serving.app import create_app
from include.serving.limits import Limits
from include.serving.state import State, declare


@pytest.fixture
def asked(settings, make_model):
    """Serve, do something with a client, and return the lines that were logged."""
    declare(settings, State("rides", 1, 7, *make_model("m1")))

    def within(do):
        with TestClient(create_app(settings)) as client:
            do(client)
        text = (settings.data / "logs" / "access-0.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()], text

    return within


def test_an_answered_request_is_one_line(asked, ask, give_key):
    token = give_key()
    said = []

    (line,), _ = asked(lambda client: said.append(ask(client, token).json()))

    assert line.pop("time").endswith("Z")
    assert 0 < line.pop("ms") < 60_000
    assert line.pop("bytes") > 50
    assert line == {
        "method": "POST",
        "route": "/invocations/{pipeline}",
        "pipeline": "rides",
        "key": "shop",
        "status": 200,
        "reason": None,
        "rows": 1,
        "version": 7,
        "answer_id": said[0]["predictions"][0]["answer_id"],
    }


def test_nothing_that_was_sent_is_in_a_line(asked, ask, give_key):
    token = give_key()

    def ask_badly(client):
        ask(client, token, "/invocations/rides?secret=payload")
        ask(client, "payload-token", "/invocations/payload")
        client.post("/payload", json={"payload": 1}, headers={"X-API-Key": "payload", "Cookie": "payload"})
        client.post("/invocations/rides", json={"instances": [{"payload": 1}]}, headers={"X-API-Key": token})

    lines, text = asked(ask_badly)

    assert [(line["status"], line["reason"], line["key"]) for line in lines] == [
        (200, None, "shop"),
        (401, "bad_key", None),
        (404, "no_page", None),
        (422, "bad_field", "shop"),
    ]
    assert lines[2]["route"] is None
    assert "payload" not in text
    assert token not in text
    assert "r1" not in text


def test_every_refusal_is_counted_by_its_reason(asked, ask):
    page = []

    def ask_badly(client):
        ask(client, path="/invocations/trains")
        client.get("/invocations")
        client.post("/invocations", content=b"{")
        client.post("/invocations", json={"instances": []})
        client.post("/invocations", content=b"x", headers={"Content-Type": "text/csv"})
        page.extend(client.get("/metrics").text.splitlines())

    asked(ask_badly)

    found = {line for line in page if line.startswith("evergreen_refusals_total{")}
    assert found == {
        f'evergreen_refusals_total{{pipeline="{pipeline}",reason="{reason}"}} 1.0'
        for pipeline, reason in [
            ("", "unknown_pipeline"),
            ("", "no_page"),
            ("rides", "not_json"),
            ("rides", "rows"),
            ("rides", "body_kind"),
        ]
    }


def test_workers_of_one_machine_write_files_of_their_own_and_a_restart_goes_on(tmp_path):
    for _ in range(2):
        logs = [AccessLog(tmp_path, 1) for _ in range(2)]
        for each in logs:
            each.start()
        for each in logs:
            each.write({"status": 200})
        for each in logs:
            each.stop()

    names = sorted(path.name for path in tmp_path.glob("access-*"))
    assert names == ["access-0.jsonl", "access-1.jsonl"]


def test_the_files_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(access_log, "FLUSH_SECONDS", 3600)
    log = AccessLog(tmp_path, 1)
    log.start()
    for _ in range(100):
        log.write({"status": 200, "padding": "x" * 30_000})
        log._flush()
    log.stop()

    assert len(list(tmp_path.glob("access-0.jsonl*"))) == 3
    assert 600_000 < sum(path.stat().st_size for path in tmp_path.glob("access-0.jsonl*")) <= 1_000_000


def test_lines_that_find_no_room_are_counted_in_the_next_one(monkeypatch):
    monkeypatch.setattr(access_log, "MAX_WAITING_LINES", 2)
    buffer = access_log._Buffer()

    def put(number):
        buffer.put({"number": number})

    for number in range(5):
        put(number)
    assert len(buffer.take()) == 2

    put(5)
    put(6)
    first, second = (json.loads(line) for line in buffer.take())
    assert (first["number"], first["lost_before"]) == (5, 3)
    assert "lost_before" not in second


def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path, no_room, caplog, monkeypatch):
    monkeypatch.setattr(access_log, "FLUSH_SECONDS", 3600)
    log = AccessLog(tmp_path, 1)
    log.start()
    with no_room():
        for _ in range(3):
            log.write({"padding": "x" * 10_000})
            log._flush()
    log.write({"status": 200})
    log.stop()

    assert sum("cannot be written" in record.getMessage() for record in caplog.records) == 1
    assert '"status":200' in (tmp_path / "access-0.jsonl").read_text()


def test_it_can_be_switched_off(settings, monkeypatch):
    monkeypatch.setattr("include.serving.endpoint.endpoint_limits", lambda: Limits(access_log_mb=0))

    with TestClient(create_app(settings)) as client:
        client.get("/ping")

    assert not (settings.data / "logs").exists()
