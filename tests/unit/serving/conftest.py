"""An endpoint that serves a tiny model without its threads, and a key for it."""

from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from include.serving.app import create_app
from include.serving.keys import add_key
from include.serving.state import State, declare

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ROW = {"ride_id": "r1", "day": "2020-01-02", "distance": 2.0, "carrier": "AA"}


@pytest.fixture
def still(settings, make_model):
    """A client of an endpoint whose model is loaded and which looks at its keys with every request."""
    declare(settings, State("rides", 1, 1, *make_model("m1")))
    app = create_app(settings)
    app.endpoint.models.refresh()
    return TestClient(app)


@pytest.fixture
def give_key(settings, monkeypatch):
    """Make a key; return its token."""
    monkeypatch.setattr("include.serving.keyring.LOOK_SECONDS", 0)

    def give(name="shop", *, rate=None, pipelines=(), now=NOW):
        return add_key(settings, name, rate=rate, pipelines=list(pipelines), now=now)

    return give


@pytest.fixture
def ask():
    """Ask about one ride, with what headers there are."""

    def send(client, token=None, path="/invocations/rides", **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return client.post(path, json={"instances": [ROW]}, headers=headers)

    return send
