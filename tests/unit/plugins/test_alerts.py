from datetime import timedelta
from types import SimpleNamespace

import pytest

from include.errors import AlertError
from include.ledger import alerts as ledger_alerts
from include.ledger import open_ledger, requests
from include.ledger.tables import now

CONTEXT = {
    "ti": SimpleNamespace(dag_id="rides__ingest", task_id="land", run_id="run-1", log_url="http://log"),
    "exception": ValueError("no such file"),
    "dag_run": SimpleNamespace(partition_key="2020-02-01"),
    "params": {"first": "2020-01-01", "last": "2020-01-03"},
}
BY_HAND = {"dag_run": SimpleNamespace(partition_key=None)}


@pytest.fixture
def alerts():
    from evergreen import alerts

    return alerts


@pytest.fixture(autouse=True)
def ledger(settings):
    """A ledger that failed ingests are remembered in."""


@pytest.fixture
def connect(alerts, monkeypatch):
    """Let Airflow have this connection, or none."""

    def install(**connection) -> None:
        def get(name):
            assert name == "evergreen_alerts"
            if not connection:
                raise alerts.AirflowNotFoundException(name)
            return SimpleNamespace(**connection)

        monkeypatch.setattr(alerts, "Connection", SimpleNamespace(get=get))

    return install


def test_without_a_connection_a_failure_is_logged_and_no_more(alerts, connect, caplog):
    connect()

    with caplog.at_level("INFO", logger=alerts.log.name):
        alerts.AlertNotifier().notify(CONTEXT)

    assert "rides__ingest.land failed in run run-1: no such file http://log" in caplog.text
    assert "No connection 'evergreen_alerts'" in caplog.text


@pytest.mark.parametrize(
    ("context", "days"), [(CONTEXT, ("2020-02-01", "2020-02-01")), (CONTEXT | BY_HAND, ("2020-01-01", "2020-01-03"))]
)
def test_the_ledger_remembers_which_days_did_not_come_in(alerts, connect, context, days):
    connect()

    alerts.AlertNotifier().notify(context)

    (alert,) = remembered()
    told = {"error": "no such file", "task": "land", "run": "run-1", "first": days[0], "last": days[1]}
    assert alert.detail == told
    assert untold() == [], "it was told just now"


def test_whom_it_could_not_tell_the_sweep_tells_later(alerts, connect):
    connect(conn_type="smtp", extra_dejson={})

    with pytest.raises(KeyError):
        alerts.AlertNotifier().notify(CONTEXT)

    assert untold() == ["not_in.rides.run-1"]


def test_a_ledger_that_is_down_keeps_nobody_from_being_told(alerts, connect, tmp_path, monkeypatch, caplog):
    connect()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVERGREEN_LEDGER_URL", f"sqlite:///{tmp_path}/file/ledger.db")

    with caplog.at_level("INFO", logger=alerts.log.name):
        alerts.AlertNotifier().notify(CONTEXT)

    assert "rides__ingest.land failed in run run-1: no such file http://log" in caplog.text
    assert "The ledger does not know that rides__ingest failed." in caplog.text


def test_people_are_told_also_where_airflow_says_nothing_of_the_run(alerts, connect, caplog):
    connect()

    with caplog.at_level("INFO", logger=alerts.log.name):
        alerts.AlertNotifier().notify({"ti": CONTEXT["ti"], "exception": CONTEXT["exception"]})

    assert "rides__ingest.land failed in run run-1: no such file http://log" in caplog.text


def test_a_task_that_was_killed_has_no_error(alerts, connect):
    connect()

    alerts.AlertNotifier().notify({key: value for key, value in CONTEXT.items() if key != "exception"})

    assert remembered()[0].detail["error"] == "it ended without an error of its own"


def test_other_stages_have_rows_of_their_own_that_say_so(alerts, connect):
    connect()
    task = SimpleNamespace(dag_id="rides__train", task_id="train", run_id="run-1", log_url="http://log")

    alerts.AlertNotifier().notify({"ti": task, "exception": ValueError("no rows")})

    assert remembered() == []


def test_a_webhook_gets_the_text_by_post(alerts, connect, monkeypatch):
    from airflow.providers.http.hooks import http

    sent = []

    class Hook:
        def __init__(self, method, http_conn_id):
            self.to = (method, http_conn_id)

        def run(self, json):
            sent.append((self.to, json))

    monkeypatch.setattr(http, "HttpHook", Hook)
    connect(conn_type="http")

    alerts.AlertNotifier().notify(CONTEXT)

    [(to, body)] = sent
    assert to == ("POST", "evergreen_alerts")
    assert body["text"].startswith("rides__ingest.land failed")


def test_a_mail_goes_to_the_address_of_the_connection(alerts, connect, monkeypatch):
    from airflow.providers.smtp.notifications import smtp

    sent = []

    class Mail:
        def __init__(self, **fields):
            self.fields = fields

        def notify(self, context):
            sent.append((self.fields, context))

    monkeypatch.setattr(smtp, "SmtpNotifier", Mail)
    connect(conn_type="smtp", extra_dejson={"to": "night@example.org"})

    alerts.AlertNotifier().notify(CONTEXT)

    [(fields, context)] = sent
    assert (fields["to"], fields["smtp_conn_id"]) == ("night@example.org", "evergreen_alerts")
    assert context is CONTEXT


@pytest.fixture
def asked(rides):
    with open_ledger() as session:
        requests.file_request(session, "rides", reason="it fell", triggered_by="quality", key="d", detail={})


def remembered():
    with open_ledger() as session:
        return ledger_alerts.alerts_of(session, "rides", "not_in", since=now() - timedelta(hours=1))


def untold() -> list[str]:
    with open_ledger() as session:
        return [alert.id for alert in ledger_alerts.untold_alerts(session)]


def test_what_the_ledger_has_to_tell_is_told_once_by_the_pipelines_connection(alerts, rides, asked, monkeypatch):
    sent = []
    monkeypatch.setattr(alerts, "send", lambda to, subject, text: sent.append((to, subject, text)))

    told = [alerts.tell([rides]) for _ in range(2)]

    asked_for = [each for each in sent if "asked" in each[1]]
    assert asked_for == [
        ("evergreen_alerts", "Evergreen: asked.rides.quality.d", "rides.quality.d asks for a new model: it fell")
    ]
    assert told[1] == []
    assert untold() == []


def test_an_alert_that_could_not_be_sent_waits_and_holds_up_no_other(alerts, rides, asked, monkeypatch):
    with open_ledger() as session:
        ledger_alerts.raise_alert(session, "message", "retrain.1", pipeline="", text="cannot be read")

    def send(to, subject, text):
        if "asked" in subject:
            raise OSError("no way")

    monkeypatch.setattr(alerts, "send", send)

    with pytest.raises(AlertError, match=r"asked\.rides\.quality\.d: OSError: no way"):
        alerts.tell([rides])
    assert untold() == ["asked.rides.quality.d"]
