"""A rollout against a real endpoint of two processes, while it is being asked all the time."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager

import httpx
import pytest

from include import promotion, rollback, rollout, verification
from include.errors import ArtefactError
from include.ledger import open_ledger, releases
from include.settings import ROOT

ROLLOUT = "rollout: {shadow: live, steps: [50], bake_minutes: 0.03, min_requests: 5}"


@pytest.fixture
def endpoint(settings, monkeypatch, free_ports):
    """Two processes that share a port, for this test's data folder; their URL."""
    (port,) = free_ports(1)
    yaml = settings.pipelines / "rides.yaml"
    yaml.write_text(yaml.read_text().replace("rollout: {steps: [50], bake_minutes: 0}", ROLLOUT))
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("EVERGREEN_ENDPOINT_URL", url)
    command = [sys.executable, "-m", "include.serving", "--port", str(port), "--workers", "2"]
    started = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(workers(url)) == 2)
        yield url
    finally:
        started.terminate()
        started.wait(30)
    wait_until(lambda: not list((settings.serving / "workers").glob("*.lock")))


# A connection a request, which now the one and now the other process accepts.
CLIENT = httpx.Client(headers={"Connection": "close"}, timeout=20)


def workers(url):
    try:
        return CLIENT.get(f"{url}/ping").json()["workers"]
    except httpx.TransportError:
        return []


def generations(url):
    return {worker["pid"]: worker["pipelines"].get("rides", {}).get("generation") for worker in workers(url)}


def wait_until(is_so, seconds=90):
    until = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
    return found


class Asking:
    """Requests, one after the other; each key is asked about again and again."""

    def __init__(self, url):
        self.url = url
        self.answers = Counter()
        self.by_key = {}

    def ask(self):
        key = f"r{self.answers.total() % 200}"
        body = {"instances": [{"ride_id": key, "day": "2020-01-02", "distance": 1.0, "carrier": "AA"}]}
        answer = CLIENT.post(f"{self.url}/invocations/rides", json=body)
        version = answer.headers.get("X-Evergreen-Version")
        self.answers[answer.status_code, version] += 1
        self.by_key.setdefault(key, []).append(version)

    @contextmanager
    def going_on(self):
        ended = threading.Event()

        def go_on():
            while not ended.is_set():
                self.ask()

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def test_a_release_is_verified_shadowed_tried_promoted_and_rolled_back_without_a_failed_request(
    endpoint, approve, settings, monkeypatch
):
    monkeypatch.setattr(promotion, "_point_alias", lambda _: None)
    first = approve()
    verification.verify(first)
    promotion.promote(first)
    second = approve(compared_with=1, slope=1.1)
    asking = Asking(endpoint)
    with asking.going_on():
        wait_until(lambda: asking.answers.total() > 20)
        verification.verify(second)
        wait_until(lambda: rollout.advance(second).is_over)
        promotion.promote(second)
        asking.by_key = {}
        wait_until(lambda: asking.answers[200, "2"] > 20)
        rollback.roll_back("rides", "the test wants it", rollback.version_before("rides"))

    assert {status for status, _ in asking.answers} == {200}
    assert asking.answers[200, "1"]
    assert asking.answers[200, "2"]
    with open_ledger() as session:
        seen = releases.get_release(session, second).rollout
    copies, canary = seen["steps"]
    assert (seen["verified"]["rows"], copies["share"], canary["share"]) == (500, 0, 0.5)
    assert copies["challenger"]["answered"] > 0
    assert min(canary["challenger"]["answered"], canary["champion"]["answered"]) > 0
    assert [(step["decision"], step["challenger"]["failed"]) for step in (copies, canary)] == [("go_on", 0)] * 2
    assert list((settings.lake / "rides" / "runs" / "shadow-v2").glob("*.parquet"))


def test_only_every_process_makes_a_champion_and_a_killed_one_comes_back_to_the_ledgers_truth(
    endpoint, approve, monkeypatch
):
    monkeypatch.setattr(promotion, "_point_alias", lambda _: None)
    promotion.promote(approve())
    second = approve(compared_with=1)
    rollout.advance(second)
    before = generations(endpoint)
    assert set(before.values()) == {2}

    doomed = min(before)
    os.kill(doomed, signal.SIGSTOP)  # it lives, and takes up nothing
    try:
        with pytest.raises(Exception, match="did not acknowledge"):
            rollback.roll_back("rides", "test", rollback.version_before("rides"), timeout_seconds=1)
    finally:
        os.kill(doomed, signal.SIGCONT)

    wait_until(lambda: generations(endpoint).get(doomed) == 3)  # what only hung takes it up
    os.kill(doomed, signal.SIGKILL)
    wait_until(lambda: doomed not in (found := generations(endpoint)) and list(found.values()) == [3, 3])


def test_a_release_that_was_altered_never_gets_traffic(settings, approve):
    release_id = approve()
    path = settings.models / "rides" / "m1" / "model.onnx"
    path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(ArtefactError, match="sha256"):
        verification.verify(release_id)
