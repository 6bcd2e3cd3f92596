"""The one file Airflow loads by itself: Evergreen's page in the navigation, and what is done when it starts."""

from airflow.plugins_manager import AirflowPlugin
from evergreen import warming
from evergreen.ui import app


class EvergreenPlugin(AirflowPlugin):
    """Show what the ledger knows, and serve the reports, to people who are logged in."""

    name = "evergreen"
    listeners = [warming]
    fastapi_apps = [{"app": app, "url_prefix": "/evergreen", "name": "Evergreen"}]
    external_views = [
        {
            "name": "Evergreen",
            "href": "/evergreen/status",
            "destination": "nav",
            "url_route": "evergreen",
            "nav_top_level": True,
        }
    ]
