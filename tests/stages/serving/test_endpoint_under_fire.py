"""A real uvicorn process with a real model, asked what it should not be asked."""

import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import date

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.settings import ROOT
from soak.endpoint import ROWS, made_up, serving
from soak.fuzz import ask, drive, too_many_rows

PATH = "/invocations/flight_delays"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("endpoint")) as started:
        yield started


@pytest.fixture
def client(endpoint):
    with httpx.Client(base_url=endpoint.url, timeout=20, trust_env=False) as found:
        yield found


@pytest.fixture
def connection(endpoint):
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as found:
        yield found


def head(*lines):
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", ""]).encode()


def outcomes(client):
    counts = Counter()
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("evergreen_unanswered_requests_total"):
            counts[line.split('"')[1]] += float(line.split()[-1])
    return counts


def test_every_request_is_answered_or_refused_in_words(endpoint, client):
    counts = drive(endpoint, 300)

    assert counts.total() >= 300
    assert not {status for status in counts if not status.startswith(("2", "4"))}
    assert {"200", "400", "422"} <= set(counts), "sound and unsound ones were among them"
    assert "failed" not in outcomes(client)


def test_the_documented_arrow_example_runs(endpoint, tmp_path, monkeypatch):
    features = made_up(endpoint.pipeline.training.features, np.random.default_rng(0))
    named = {"flight_id": [f"f{number}" for number in range(ROWS)], "flight_date": [date(2013, 7, 22)] * ROWS}
    pq.write_table(pa.table(named | features), tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "endpoint.md").read_text(), re.DOTALL)
    found = {}

    exec(example.replace("http://127.0.0.1:8090", endpoint.url), found)  # noqa: S102

    assert found["answers"].column_names == ["answer_id", "flight_id", "prediction"]
    assert found["answers"]["flight_id"].to_pylist() == named["flight_id"]


def test_a_slash_too_many_leads_back(client):
    answer = client.post(f"{PATH}/")

    assert (answer.status_code, answer.content) == (307, b"")


def test_a_hundred_thousand_rows_are_refused(endpoint, client):
    assert ask(client, too_many_rows(endpoint.pipeline)) == 413


def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(connection):
    connection.sendall(head("Content-Length: 100000000000"))

    assert b" 413 " in connection.recv(1000)


def test_an_endless_body_is_refused_while_it_is_sent(connection):
    num_sent = 0

    def send_for_ever():
        nonlocal num_sent
        with suppress(OSError):  # the endpoint has hung up, or the test is over
            while True:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                num_sent += 65536

    connection.sendall(head("Transfer-Encoding: chunked"))
    sender = threading.Thread(target=send_for_ever)
    sender.start()
    answer = connection.recv(1000)
    connection.shutdown(socket.SHUT_RDWR)
    sender.join()

    assert b" 413 " in answer
    assert num_sent < 64 * 2**20


def test_a_sender_that_hangs_up_in_the_middle_fails_nothing(endpoint, client, connection):
    before = outcomes(client)["refused"]
    connection.sendall(head("Content-Length: 1000") + b'{"instances": [{"carr')
    connection.close()
    until = time.monotonic() + 20
    while outcomes(client)["refused"] == before:
        assert time.monotonic() < until, "the endpoint did not notice"
        time.sleep(0.05)

    assert "failed" not in outcomes(client)
    row = dict.fromkeys(endpoint.pipeline.training.features.names)
    assert client.post(PATH, json={"instances": [row]}).status_code == 200


def test_a_slow_sender_keeps_nobody_waiting(endpoint, client, connection):
    connection.sendall(head("Content-Length: 1000") + b"{")

    row = dict.fromkeys(endpoint.pipeline.training.features.names)
    assert client.post(PATH, json={"instances": [row]}).status_code == 200


def test_an_unknown_pipeline_is_answered_with_the_one_that_was_meant(client):
    answer = client.post("/invocations/flight_delay", json={})

    assert answer.status_code == 404
    assert "Did you mean 'flight_delays'?" in answer.json()["error"]
