"""This file talks to Airflow as its UI does: over the public REST API."""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_fixed

from include.errors import StackError

FINISHED = {"success", "failed"}


def may_pass(error: BaseException) -> bool:
    """Say whether to ask again: a busy machine's Airflow answers 500 where its database is held too long."""
    return isinstance(error, httpx.TransportError) or (
        isinstance(error, httpx.HTTPStatusError) and error.response.is_server_error
    )


# For what may be asked twice and changes nothing the second time.
patiently = retry(retry=retry_if_exception(may_pass), stop=stop_after_attempt(8), wait=wait_fixed(2), reraise=True)


class Airflow:
    """A person at the Airflow UI, by REST.

    :param url: base URL of the API server.
    :param password: password of user `admin`.
    """

    def __init__(self, url: str, password: str) -> None:
        answer = httpx.post(f"{url}/auth/token", json={"username": "admin", "password": password}, timeout=30)
        token = answer.raise_for_status().json()["access_token"]
        self._http = httpx.Client(
            base_url=f"{url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        )

    def wait_for_dags(self, dag_ids: set[str], timeout: float = 120) -> None:
        """Wait until Airflow has parsed these DAGs."""

        def missing() -> set[str]:
            return dag_ids - {dag["dag_id"] for dag in self._get("/dags", limit=1000)["dags"]}

        wait_until(
            lambda: not missing(), timeout, lambda: f"Airflow has not parsed {missing()}: {self.import_errors()}"
        )

    def import_errors(self) -> list[str]:
        """Return what keeps DAG files from being parsed."""
        return [error["stack_trace"] for error in self._get("/importErrors")["import_errors"]]

    @patiently
    def unpause(self, dag_id: str) -> None:
        """Switch a DAG on."""
        self._http.patch(f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()

    def trigger(self, dag_id: str, run_id: str | None = None, *, partition: str | None = None, **conf: Any) -> str:
        """Start a run by hand with values of the trigger form, and return its id.

        :param run_id: a name of the caller's own: Airflow refuses a second run of that name (409).
        :param partition: the key that an asset event would have woken it with.
        """
        name = run_id or f"manual__{uuid4()}"
        answer = self._start(dag_id, name, {"conf": conf} | ({"partition_key": partition} if partition else {}))
        # Nobody else has that name: there is a run of it if an answer was lost and it was asked for again.
        if run_id or answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()
        return name

    @patiently
    def _start(self, dag_id: str, name: str, asked: dict[str, Any]) -> httpx.Response:
        body = {"logical_date": None, "dag_run_id": name, **asked}
        answer = self._http.post(f"/dags/{dag_id}/dagRuns", json=body)
        return answer.raise_for_status() if answer.is_server_error else answer

    @patiently
    def emit(self, asset: str, key: str) -> None:
        """Emit an asset event with a partition key, as a task does that wakes the next stage."""
        (found,) = [each for each in self._get("/assets", name_pattern=asset)["assets"] if each["name"] == asset]
        event = {"asset_id": found["id"], "partition_key": key}
        self._http.post("/assets/events", json=event).raise_for_status()

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 300) -> str:
        """Wait until a run has ended, and return its state."""
        state = ""

        def ended() -> bool:
            nonlocal state
            state = self._get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return state in FINISHED

        wait_until(ended, timeout, lambda: f"{dag_id} {run_id} is still {state}")
        return state

    def wait_for_partition(self, dag_id: str, day: str, timeout: float = 300) -> str:
        """Wait until the scheduled run of a partition has ended, and return its state."""
        nightly, runs = f"/dags/{dag_id}/dagRuns", list[dict[str, Any]]()

        def is_there() -> bool:
            nonlocal runs
            found = self._get(nightly, run_type="scheduled", limit=100)["dag_runs"]
            runs = [run for run in found if run["partition_key"] == day]
            return bool(runs)

        wait_until(is_there, timeout, lambda: f"{dag_id} has no run for {day}")
        return self.wait_for_run(dag_id, runs[0]["dag_run_id"], timeout)

    def questions(self) -> list[dict[str, Any]]:
        """Return what people are asked and have not answered."""
        return self._pages("/dags/~/dagRuns/~/hitlDetails", "hitl_details", response_received=False)

    def answer(self, question: dict[str, Any], option: str, note: str = "") -> None:
        """Answer a question with one of its options."""
        task = question["task_instance"]
        path = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/-1/hitlDetails"
        body = {"chosen_options": [option], "params_input": {"note": note}}
        self._http.patch(path, json=body).raise_for_status()

    def runs(self, **query: Any) -> list[dict[str, Any]]:
        """Return all runs of all DAGs, or those that a query of Airflow's finds (`state`, `run_after_gte`)."""
        return self._pages("/dags/~/dagRuns", "dag_runs", **query)

    def task_instances(self) -> list[dict[str, Any]]:
        """Return all task instances of all runs."""
        return self._pages("/dags/~/dagRuns/~/taskInstances", "task_instances")

    def tasks_since(self, dag_id: str, since: str) -> list[dict[str, Any]]:
        """Return the task instances of a DAG's runs that were asked for after a moment (ISO 8601)."""
        runs = self._get(f"/dags/{dag_id}/dagRuns", run_after_gte=since, limit=100)["dag_runs"]
        found: list[dict[str, Any]] = []
        for run in runs:
            found += self._get(f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"]
        return found

    def _pages(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            page = self._get(path, limit=100, offset=len(rows), **query)
            rows += page[key]
            if len(rows) >= page["total_entries"] or not page[key]:
                return rows

    @patiently
    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._http.get(path, params=query).raise_for_status().json()
        return answer


def wait_until(is_so: Callable[[], bool], timeout: float, explain: Callable[[], str]) -> None:
    """Look every fifth of a second until something is so.

    :raises StackError: with the explanation, after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise StackError(f"After {timeout:.0f} s: {explain()}")
        time.sleep(0.2)
