"""What `evergreen plan --check` finds of this installation: what answers, what does not, what to do."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from include.finding import Finding
from include.installation import check_installation
from include.settings import Settings

NOBODY = "127.0.0.1:1"
REMEDIES = {
    "Spark": "SPARK_REMOTE",
    "ledger": "EVERGREEN_LEDGER_URL",
    "catalog": "EVERGREEN_CATALOG_URL",
    "MLflow": "MLFLOW_TRACKING_URI",
    "endpoint": "EVERGREEN_ENDPOINT_URL",
}


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in {"/health", "/ping"} else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    """Host and port of what answers as MLflow and the endpoint do."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def found(settings: Settings, **changes: str) -> dict[str, Finding]:
    return {each.what: each for each in check_installation(settings.model_copy(update=changes))}


def test_what_answers_is_right(settings, service):
    urls = {"spark_remote": f"sc://{service}/;token=x", "endpoint_url": f"http://{service}"}

    findings = found(settings, tracking_url=f"http://{service}", **urls)

    assert {name: each.verdict for name, each in findings.items()} == dict.fromkeys(["Python", *REMEDIES], "ok")
    assert not settings.lake.exists(), "nothing is made by a look, but the ledger"


def test_what_does_not_answer_says_what_to_do_and_no_secret(settings, monkeypatch):
    database = f"postgresql+psycopg://user:hunter2@{NOBODY}/evergreen"
    monkeypatch.setenv("EVERGREEN_LEDGER_URL", database)
    urls = {"ledger_url": database, "catalog_url": database, "spark_remote": f"sc://{NOBODY}/;token=hunter2"}

    findings = found(settings, tracking_url=f"http://user:hunter2@{NOBODY}", endpoint_url=f"http://{NOBODY}", **urls)

    for name, variable in REMEDIES.items():
        assert findings[name].verdict == "problem", findings[name]
        assert variable in findings[name].remedy
    assert "hunter2" not in str(findings)


def test_without_a_spark_server_java_is_needed(settings, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    assert "apt-get install" in str(found(settings, spark_remote=None)["Java"])


def test_a_service_that_hangs_is_not_waited_for(settings, monkeypatch):
    monkeypatch.setattr("include.installation.SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        finding = found(settings, tracking_url=f"http://127.0.0.1:{silent.getsockname()[1]}")["MLflow"]

    assert (finding.verdict, finding.found) == ("problem", "timed out.")
