import asyncio
import json
import math
import re
import threading
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.serving import model as modelling
from include.serving.app import create_app
from include.serving.contract import Answer
from include.serving.limits import Limits
from include.serving.state import State, declare, state_path

ROW = {"ride_id": "r1", "day": "2020-01-02", "distance": 2.0, "carrier": "AA"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(modelling, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(modelling, "RETRY_SECONDS", 0.05)


@pytest.fixture
def serve(settings, make_model):
    """Declare a version of its own slope; return the state."""

    def declare_version(version, generation=None, slope=None):
        folder, sha256 = make_model(f"m{version}-{generation}", slope=slope or float(version))
        state = State("rides", generation or version, version, folder, sha256)
        declare(settings, state)
        return state

    return declare_version


@pytest.fixture
def client(settings):
    with TestClient(create_app(settings)) as found:
        yield found


def ask(client, *rows, path="/invocations"):
    return client.post(path, json={"instances": list(rows) or [ROW]})


def wait_for(condition, seconds=5):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def loaded(client):
    return client.get("/ping").json()["pipelines"].get("rides")


def test_without_a_model_the_endpoint_lives_and_says_so(client):
    told = client.get("/ping").json()
    assert (told["pipelines"], told["errors"]) == ({}, {})

    refused = ask(client)

    assert refused.status_code == 503
    assert "none has been deployed" in refused.json()["error"]


def test_the_answer_says_which_version_gave_it_and_to_which_event(serve, settings):
    serve(7, slope=1.0)
    with TestClient(create_app(settings)) as client:
        answered = ask(client, ROW, {**ROW, "ride_id": "r2", "distance": None}, path="/invocations/rides")

    assert answered.headers["X-Evergreen-Version"] == "7"
    body = answered.json()
    assert (body["pipeline"], body["version"]) == ("rides", 7)
    assert [row["ride_id"] for row in body["predictions"]] == ["r1", "r2"]
    assert [row["prediction"] for row in body["predictions"]] == pytest.approx([1 / (1 + math.exp(-2)), 0.5])
    assert len({row["answer_id"] for row in body["predictions"]}) == 2


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Regression(), [{"prediction": 2.0}, {"prediction": 0.0}]),
        (
            Multiclass(("AA", "UA")),
            [
                {"prediction": "UA", "probabilities": {"AA": 1 / (1 + math.exp(2)), "UA": 1 / (1 + math.exp(-2))}},
                {"prediction": "AA", "probabilities": {"AA": 0.5, "UA": 0.5}},
            ],
        ),
    ],
)
def test_every_task_is_answered_and_kept_in_the_same_shape(make_model, settings, task, said):
    declare(settings, State("rides", 1, 1, *make_model("m1", task=task)))
    with TestClient(create_app(settings)) as client:
        answers = ask(client, ROW, {**ROW, "ride_id": "r2", "distance": None}).json()["predictions"]

    (path,) = (settings.lake / "rides" / "predictions" / "day=2020-01-02").glob("*.parquet")
    kept = pq.ParquetFile(path).read()
    for answer, row, found in zip(answers, kept.to_pylist(maps_as_pydicts="strict"), said, strict=True):
        assert answer["prediction"] == row["prediction"] == found["prediction"]
        assert answer.get("probabilities") == row.get("probabilities") == pytest.approx(found.get("probabilities"))
        Answer.model_validate(answer)
    assert len(task.recorded(kept)) == 2


def test_the_documentation_shows_what_is_asked_and_answered(client):
    described = client.get("/openapi.json").json()

    asked = described["paths"]["/invocations/{pipeline}"]["post"]
    assert "instances" in asked["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert asked["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Answers")
    assert set(described["components"]["schemas"]["Answer"]["properties"]) == {
        "answer_id",
        "prediction",
        "probabilities",
    }


def test_answers_of_a_batch_and_alone_agree_and_large_ones_work_too(serve, settings):
    serve(1)
    rows = [{**ROW, "distance": number / 100, "ride_id": str(number)} for number in range(2000)]
    with TestClient(create_app(settings)) as client:
        many = ask(client, *rows).json()["predictions"]
        alone = ask(client, rows[1999]).json()["predictions"]

    assert len(many) == 2000
    assert many[1999]["prediction"] == pytest.approx(alone[0]["prediction"], abs=1e-6)


def test_what_was_asked_is_kept_with_version_features_and_prediction(serve, settings):
    serve(1)
    with TestClient(create_app(settings)) as client:
        answer = ask(client).json()["predictions"][0]

    (path,) = (settings.lake / "rides" / "predictions" / "day=2020-01-02").glob("*.parquet")
    (kept,) = pq.ParquetFile(path).read().to_pylist()
    assert (kept["answer_id"], kept["ride_id"], kept["answer_version"]) == (answer["answer_id"], "r1", 1)
    assert (kept["distance"], kept["carrier"], kept["prediction"]) == (2.0, "AA", answer["prediction"])


def test_a_bad_request_names_field_and_row(serve, settings):
    serve(1)
    with TestClient(create_app(settings)) as client:
        refused = ask(client, ROW, {**ROW, "distance": "far"})

    assert refused.status_code == 422
    assert refused.json() == {
        "error": "'distance' is a string, expected a number or null.",
        "field": "distance",
        "row": 1,
    }


def test_a_body_that_is_too_large_is_refused(serve, settings, monkeypatch):
    monkeypatch.setattr("include.serving.body.endpoint_limits", lambda: Limits(body_bytes=100))
    serve(1)
    with TestClient(create_app(settings)) as client:
        assert ask(client, ROW, ROW, ROW).status_code == 413


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"content-type": "text/csv"}, "Content-Type is 'text/csv', expected application/json"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "Content-Encoding is 'gzip'"),
    ],
)
def test_a_body_of_another_kind_is_refused(serve, settings, headers, says):
    serve(1)
    with TestClient(create_app(settings)) as client:
        refused = client.post("/invocations", content=b"x", headers=headers)

    assert refused.status_code == 415
    assert says in refused.json()["error"]


def test_a_body_without_a_kind_is_taken_for_json(serve, settings):
    serve(1)
    with TestClient(create_app(settings)) as client:
        assert client.post("/invocations", content=json.dumps({"instances": [ROW]})).status_code == 200


def test_a_body_that_does_not_come_is_given_up(serve, settings, monkeypatch):
    monkeypatch.setattr("include.serving.body.endpoint_limits", lambda: Limits(body_seconds=0.01))
    serve(1)
    app, sent = create_app(settings), []

    async def never():
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    async def ask_slowly():
        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": [], "query_string": b""}
        async with app.endpoint.lifespan(app):
            await app(scope, never, send)

    asyncio.run(ask_slowly())

    assert sent[0]["status"] == 408


def test_an_answer_that_is_no_number_is_refused_by_its_row(serve, settings, monkeypatch):
    monkeypatch.setattr("include.serving.answering.predict", lambda *_asked, **_how: np.array([0.5, np.nan]))
    serve(1)
    with TestClient(create_app(settings)) as client:
        refused = ask(client, ROW, ROW)

    assert (refused.status_code, refused.json()["row"]) == (422, 1)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/invocations", 405), ("POST", "/nowhere", 404)])
def test_a_page_there_is_not_is_refused_in_the_same_words_as_all_else(client, method, path, status):
    refused = client.request(method, path)

    assert refused.status_code == status
    assert "POST /invocations/<pipeline>" in refused.json()["error"]


def test_another_pipeline_is_not_found(serve, settings):
    serve(1)
    with TestClient(create_app(settings)) as client:
        refused = ask(client, path="/invocations/trains")

    assert refused.status_code == 404
    assert "rides" in refused.json()["error"]


def test_a_new_state_is_taken_up_while_requests_go_on(serve, settings):
    serve(1)
    answers, is_over = [], threading.Event()
    with TestClient(create_app(settings)) as client:

        def keep_asking():
            while not is_over.is_set():
                answers.append(ask(client))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        wait_for(lambda: len(answers) > 20)
        serve(2)
        wait_for(lambda: loaded(client) == {"version": 2, "generation": 2})
        seen = len(answers)
        wait_for(lambda: len(answers) > seen + 20)
        is_over.set()
        asking.join()

    assert {answer.status_code for answer in answers} == {200}
    versions = [answer.json()["version"] for answer in answers]
    assert versions == sorted(versions)
    assert set(versions) == {1, 2}


def test_the_same_model_under_a_new_fence_is_acknowledged(serve, settings, client):
    state = serve(1)
    wait_for(lambda: loaded(client) == {"version": 1, "generation": 1})

    declare(settings, State("rides", 5, 1, state.model_uri, state.sha256))

    wait_for(lambda: loaded(client)["generation"] == 5)
    assert loaded(client) == {"version": 1, "generation": 5}


@pytest.mark.parametrize("broken", ['{"pipeline": "ri', "", "[]", '{"pipeline": "rides"}'])
def test_a_broken_state_leaves_the_old_version_in_service(serve, settings, client, broken):
    serve(1)
    wait_for(lambda: loaded(client))

    state_path(settings, "rides").write_text(broken)
    wait_for(lambda: client.get("/ping").json()["errors"])

    assert ask(client).json()["version"] == 1
    assert 'evergreen_state_errors_total{pipeline="rides"}' in client.get("/metrics").text


def test_an_altered_model_is_not_served_and_a_mended_one_is(serve, settings, client, make_model):
    serve(1)
    wait_for(lambda: loaded(client))
    folder, sha256 = make_model("altered", slope=3.0)
    content = (settings.models / "rides" / "altered" / "model.onnx").read_bytes()
    (settings.models / "rides" / "altered" / "model.onnx").write_bytes(content + b"x")

    declare(settings, State("rides", 2, 2, folder, sha256))
    wait_for(lambda: "sha256" in client.get("/ping").json()["errors"].get("rides", ""))
    assert ask(client).json()["version"] == 1

    (settings.models / "rides" / "altered" / "model.onnx").write_bytes(content)
    wait_for(lambda: loaded(client)["version"] == 2)
    assert client.get("/ping").json()["errors"] == {}


def test_a_removed_state_leaves_the_old_version_in_service(serve, settings, client):
    serve(1)
    wait_for(lambda: loaded(client))

    state_path(settings, "rides").unlink()
    time.sleep(0.1)

    assert ask(client).json()["version"] == 1


def test_an_artefact_is_never_unpickled(serve, settings, client):
    folder, sha256 = settings.models / "rides" / "evil", "0" * 64
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"features": {"numeric": ["distance"], "categorical": []}}))
    (folder / "model.onnx").write_bytes(b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.")

    declare(settings, State("rides", 1, 1, str(folder), sha256))

    wait_for(lambda: client.get("/ping").json()["errors"])
    assert ask(client).status_code == 503


def test_requests_and_versions_are_counted(serve, settings):
    serve(3)
    with TestClient(create_app(settings)) as client:
        ask(client)
        ask(client, {})
        page = client.get("/metrics").text

    assert 'evergreen_request_seconds_count{pipeline="rides",version="3"} 1.0' in page
    assert 'evergreen_unanswered_requests_total{outcome="refused",pipeline="rides"} 1.0' in page
    assert 'evergreen_loaded_version{pipeline="rides"} 3.0' in page


def test_the_page_of_what_can_be_asked_needs_nothing_from_elsewhere(client):
    page = client.get("/")

    assert page.url.path == "/docs"
    assert page.status_code == 200
    assert "https://" not in page.text
    script = re.search(r'src="([^"]+\.js)"', page.text)
    assert client.get(script.group(1)).status_code == 200
