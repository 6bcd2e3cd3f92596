"""This file tells people what they should hear of: by an Airflow connection if there is one, in the log always."""

import logging
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseNotifier, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import AlertError
from include.pipeline import Pipeline

CONNECTION = "evergreen_alerts"

log = logging.getLogger(__name__)


class AlertNotifier(BaseNotifier):
    """Say which task of which run failed and where its log is; of an ingest, the ledger remembers it, too.

    :param connection_id: whom to tell, see `send`.
    """

    def __init__(self, connection_id: str = CONNECTION) -> None:
        super().__init__()
        self.connection_id = connection_id

    def notify(self, context: Any) -> None:
        """Send the alert."""
        task, error = context["ti"], context.get("exception")
        text = f"{task.dag_id}.{task.task_id} failed in run {task.run_id}: {error} {task.log_url}"
        noted = _note(context, text)
        send(self.connection_id, f"{task.dag_id} failed", text, context)
        if noted:  # where `send` has failed, `sweep` sends it
            from include.ledger import alerts, open_ledger

            with open_ledger() as session:
                alerts.mark_told(session, noted)


def _note(context: Any, text: str) -> str | None:
    """Let the ledger remember which days did not come in; people are told also where that fails."""
    task = context["ti"]
    pipeline_name, _, stage = task.dag_id.rpartition("__")
    if stage != "ingest":
        return None
    from include.missing_days import note_failure

    try:
        night, asked = context["dag_run"].partition_key, context["params"]
        days = (night, night) if night else (str(asked["first"]), str(asked["last"]))
        return note_failure(pipeline_name, task.run_id, task.task_id, days, str(context.get("exception") or ""), text)
    except Exception:
        log.exception("The ledger does not know that %s failed.", task.dag_id)
        return None


def send(connection_id: str, subject: str, text: str, context: Any = None) -> None:
    """Log a text, and send it where there is a connection.

    One of type `http` gets a JSON `{"text": ...}` by POST (Slack, Teams and Mattermost webhooks take that); one of type
    `smtp` sends a mail to the address in its extra field `to`.
    """
    log.error("%s", text)
    try:
        connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        log.info("No connection '%s': nobody was told. Add one of type http or smtp to be.", connection_id)
        return
    if connection.conn_type == "smtp":
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        to = connection.extra_dejson["to"]
        mail = SmtpNotifier(to=to, subject=subject, html_content=text, smtp_conn_id=connection_id)
        mail.notify({} if context is None else context)
    else:
        from airflow.providers.http.hooks.http import HttpHook

        HttpHook(method="POST", http_conn_id=connection_id).run(json={"text": text})


def tell(pipelines: Sequence[Pipeline]) -> list[str]:
    """Look for what is new, tell people, and return what they were told.

    Killed between telling and noting it, it tells twice: better than never.

    :raises AlertError: if a connection did not take an alert; it is tried again, the others are told.
    """
    from include import alerting
    from include.ledger import alerts, open_ledger

    alerting.look(pipelines)
    connections = {pipeline.name: pipeline.alerts.connection for pipeline in pipelines}
    with open_ledger() as session:
        waiting = alerts.untold_alerts(session)
    told, failed = [], []
    for alert in waiting:
        try:
            send(connections.get(alert.pipeline, CONNECTION), f"Evergreen: {alert.id}", alert.text)
        except Exception as error:  # another alert may have another way
            log.exception("%s could not be sent", alert.id)
            failed.append(f"{alert.id}: {type(error).__name__}: {error}")
            continue
        with open_ledger() as session:
            alerts.mark_told(session, alert.id)
        told.append(alert.text)
    if failed:
        raise AlertError(f"Not sent, and tried again by the next sweep: {'; '.join(failed)}")
    return told
