"""This file tells people about failures: by the connection `evergreen_alerts` if there is one, in the log always."""

import logging
from typing import Any

from airflow.sdk import BaseNotifier, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

CONNECTION = "evergreen_alerts"

log = logging.getLogger(__name__)


class AlertNotifier(BaseNotifier):
    """Say which task of which run failed and where its log is.

    A connection of type `http` gets a JSON `{"text": ...}` by POST (Slack, Teams and Mattermost webhooks take that);
    one of type `smtp` sends a mail to the address in its extra field `to`.
    """

    def notify(self, context: Any) -> None:
        """Send the alert."""
        task = context["ti"]
        text = f"{task.dag_id}.{task.task_id} failed in run {task.run_id}: {context.get('exception')} {task.log_url}"
        log.error("%s", text)
        try:
            connection = Connection.get(CONNECTION)
        except AirflowNotFoundException:
            log.info("No connection '%s': nobody was told. Add one of type http or smtp to be.", CONNECTION)
            return
        if connection.conn_type == "smtp":
            from airflow.providers.smtp.notifications.smtp import SmtpNotifier

            to = connection.extra_dejson["to"]
            SmtpNotifier(to=to, subject=f"{task.dag_id} failed", html_content=text, smtp_conn_id=CONNECTION).notify(
                context
            )
        else:
            from airflow.providers.http.hooks.http import HttpHook

            HttpHook(method="POST", http_conn_id=CONNECTION).run(json={"text": text})
