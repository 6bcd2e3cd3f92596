"""Nights and trainings through a real Airflow: late labels, a source that is down, runs that meet."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from sqlalchemy import select

from include import lake
from include.demo.airflow_api import patiently, wait_until
from include.ledger import Publication, Request, nights, open_ledger, releases, requests
from include.monitoring.deciding import ON_THEIR_WAY
from include.settings import load_settings
from soak.kills import installation

ROWS = 200
FIRST, SECOND, THIRD, FOURTH = (f"2020-01-0{number}" for number in range(1, 5))
LATE = "late_rides"
WEB = "web_rides"


@pytest.fixture(scope="module")
def port(free_ports):
    """Where the web service will answer, once it is up."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def services(own_services, learning_rides, port):
    """Airflow and what belongs to it, for rides whose labels come a day later, and rides from a web service."""
    late = learning_rides("2020-01-04").replace("e/{date}", "late/e/{date}")
    late = late.replace('"l/{date}.csv"', '"late/l/{date}.csv", delay_days: 1')
    web = learning_rides(FIRST).replace('path: "e/{date}.csv"', f'url: "http://127.0.0.1:{port}/{{date}}"')
    # Nothing is killed here: a task that is only slow must not be taken for dead.
    with installation({LATE: late, WEB: web}, is_impatient=False) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(services):
    return services[1]


@pytest.fixture(scope="module")
def deliver(services, deliver_rides):
    """Deliver events or labels of a day of `late_rides`."""
    return lambda day, kinds: deliver_rides(load_settings().data / "late", day, ROWS, kinds=kinds)


def facts_of(day, pipeline=LATE):
    """What the ledger says of a day: rows, labelled rows."""
    with open_ledger() as session:
        found = next(row for row in nights.partitions_of(session, pipeline) if row.day == day)
        return found.status, found.rows, found.labelled


def keys_of(day):
    return sorted(lake.read_clean(LATE, day, day, ["ride_id"])["ride_id"].to_pylist())


def whole(day):
    return sorted(f"{day}-{row}" for row in range(ROWS))


@pytest.fixture(scope="module")
def web_service(airflow, deliver_rides, port):
    """A web service that is down until the night that asks it waits, deferred; its labels are files."""
    deliver_rides(load_settings().data, FIRST, ROWS, kinds="l")

    def waits():
        tasks = [task for task in airflow.task_instances() if task["dag_id"] == f"{WEB}__ingest"]
        return {task["task_id"]: task["state"] for task in tasks}.get("land") == "deferred"

    wait_until(waits, 120, lambda: f"the night of {WEB} does not wait")

    class Service(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            day = self.path.strip("/")
            rows = [{"ride_id": f"{day}-{row}", "day": day, "distance": row, "carrier": "AA"} for row in range(ROWS)]
            content = json.dumps(rows).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", port), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def two_nights(airflow, deliver):
    """A night whose labels are not there yet, and the night that finds them."""
    deliver(FIRST, "e")
    first = airflow.wait_for_partition(f"{LATE}__ingest", FIRST)
    before = facts_of(FIRST)
    deliver(FIRST, "l")
    deliver(SECOND, "e")
    return first, before, airflow.wait_for_partition(f"{LATE}__ingest", SECOND)


def test_labels_that_come_later_are_taken_in_by_the_scheduled_night_after_them(web_service, two_nights):
    first, before, second = two_nights

    assert (first, second) == ("success", "success")
    assert before == ("published", ROWS, 0)
    assert facts_of(FIRST) == ("published", ROWS, ROWS)
    assert facts_of(SECOND) == ("published", ROWS, 0)
    assert keys_of(FIRST) == whole(FIRST)
    with open_ledger() as session:
        announced = session.scalars(select(Publication).where(Publication.pipeline == LATE)).all()
    assert sorted(publication.days for publication in announced) == [[FIRST], [FIRST, SECOND]]


@pytest.fixture(scope="module")
def backfilled(airflow, deliver, two_nights):
    """A backfill of all days so far begins while one night waits; then that night's delivery comes."""
    window = {"from_date": f"{FIRST}T00:00:00Z", "to_date": f"{FOURTH}T00:00:00Z", "reprocess_behavior": "completed"}
    asked = {"dag_id": f"{LATE}__ingest", "max_active_runs": 4, **window}
    patiently(lambda: airflow._http.post("/backfills", json=asked).raise_for_status())()
    deliver(SECOND, "l")
    deliver(THIRD, "e")
    night = airflow.wait_for_partition(f"{LATE}__ingest", THIRD)
    runs = [run for run in airflow.runs() if run["run_type"] == "backfill"]
    return night, {run["partition_key"]: airflow.wait_for_run(run["dag_id"], run["dag_run_id"]) for run in runs}


def test_a_backfill_does_not_touch_the_night_that_runs_and_takes_the_other_days_in_again_beside_it(backfilled):
    night, again = backfilled

    assert night == "success"
    assert again == {FIRST: "success", SECOND: "success"}
    assert {day: keys_of(day) for day in (FIRST, SECOND, THIRD)} == {day: whole(day) for day in (FIRST, SECOND, THIRD)}
    assert [facts_of(day) for day in (FIRST, SECOND)] == [("published", ROWS, ROWS)] * 2


def test_a_run_by_hand_and_the_night_of_the_same_day_leave_that_day_whole_once(airflow, deliver, backfilled):
    deliver(FOURTH, "e")
    by_hand = airflow.trigger(f"{LATE}__ingest", first=FOURTH, last=FOURTH)

    ended = {airflow.wait_for_partition(f"{LATE}__ingest", FOURTH), airflow.wait_for_run(f"{LATE}__ingest", by_hand)}

    assert ended == {"success"}
    assert keys_of(FOURTH) == whole(FOURTH)
    assert facts_of(FOURTH)[1] == ROWS


@pytest.fixture(scope="module")
def learnable(airflow, deliver, backfilled):
    """All four days with their labels, and what came of the first model that the governor asked for."""
    for day in (FIRST, SECOND, THIRD, FOURTH):
        deliver(day, "l")
    by_hand = airflow.trigger(f"{LATE}__ingest", first=FIRST, last=FOURTH)
    assert airflow.wait_for_run(f"{LATE}__ingest", by_hand) == "success"
    wait_until_all_is_over()


def wait_until_all_is_over():
    def unfinished():
        with open_ledger() as session:
            waiting = nights.waiting_publications(session, LATE, older_than_seconds=0)
            moving = releases.releases_of(session, LATE, *ON_THEIR_WAY)
            return [row.id for row in (*waiting, *requests.unfinished_requests(session, LATE), *moving)]

    wait_until(lambda: not unfinished(), 300, lambda: f"{unfinished()} are on their way")


def train_for(airflow, *reasons):
    """File a request for each reason, and wake two runs, one after another for all requests; return what came of it."""
    with open_ledger() as session:
        asked = [
            requests.file_request(session, LATE, reason=reason, triggered_by="drift", key=reason, detail={}).id
            for reason in reasons
        ]
    dag_id = f"{LATE}__train"
    woken = [airflow.trigger(dag_id, partition=key) for key in (asked * 2)[:2]]
    states = [airflow.wait_for_run(dag_id, run_id) for run_id in woken]
    wait_until_all_is_over()
    with open_ledger() as session:
        made = [release for release in releases.releases_of(session, LATE) if release.request_id in asked]
        assert {session.get_one(Request, request_id).status for request_id in asked} == {"done"}
        return states, made, releases.champion_of(session, LATE)


def version_served(services):
    return httpx.get(f"{services[0].urls['endpoint']}/ping", trust_env=False).json()["pipelines"][LATE]["version"]


def test_two_trainings_at_once_for_one_request_make_one_model(services, airflow, learnable):
    states, made, champion = train_for(airflow, "one")

    assert states == ["success", "success"]  # one of them has skipped: the request is the other's
    assert len(made) == 1
    assert version_served(services) == champion.version


def test_two_trainings_at_once_for_two_requests_make_two_models_of_which_one_serves_at_most(
    services, airflow, learnable
):
    states, made, champion = train_for(airflow, "two", "three")

    assert states == ["success", "success"]
    assert len({release.request_id for release in made}) == len({release.version for release in made}) == 2
    # What was compared with a champion that the other has replaced meanwhile has failed: refused as stale.
    assert {release.status for release in made} <= {"champion", "retired", "rejected", "failed"}
    assert version_served(services) == champion.version


def test_a_night_whose_source_was_down_went_on_by_itself(airflow, web_service):
    """Last: its trigger looks twice a minute, and the other tests are done meanwhile."""
    assert airflow.wait_for_partition(f"{WEB}__ingest", FIRST) == "success"
    assert facts_of(FIRST, WEB) == ("published", ROWS, ROWS)
