"""This file runs Evergreen's services on one machine, under a supervisor that starts again whatever dies."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import httpx
import psutil
from rich.console import Console

from include import atomic
from include.errors import StackError
from include.process import die_with_parent, kill_all, processes_of, uninterrupted
from include.readiness import airflow_is_healthy, answers, check_java, check_ports, listens
from include.settings import ROOT, Settings, load_settings
from include.stack_environment import BIN, environment_of, passwords_of, ports_of, write_secret
from include.yaml_text import parse_yaml

SUPERVISOR = ROOT / "config" / "supervisord.conf"
START_SECONDS = 180
STOP_SECONDS = 60


class Stack:
    """The local services: Airflow, the endpoint, MLflow, Spark Connect."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or load_settings()
        self.data = self.settings.data
        local = parse_yaml((ROOT / "config" / "platforms" / "local.yaml").read_text())
        self.ports = ports_of(local["ports"])
        self._airflow_settings: dict[str, str] = local["airflow"]
        self._airflow_keep_days: int = local["airflow_keep_days"]

    @property
    def password(self) -> str:
        """Return the password of Airflow's user `admin`; made at the first start, kept in the data folder."""
        return str(json.loads(passwords_of(self.data).read_text())["admin"])

    @property
    def urls(self) -> dict[str, str]:
        """Return what a person can open in a browser."""
        return {name: f"http://127.0.0.1:{self.ports[name]}" for name in ("airflow", "endpoint", "mlflow")}

    def is_up(self) -> bool:
        """Say whether the supervisor runs."""
        return self._supervisor_pid() is not None

    def start(self, *, detached: bool) -> None:
        """Start every service; Airflow's database is made ready meanwhile. Then `wait_for` those that are needed.

        :param detached: leave them running when this process ends.
        :raises StackError: if there is no Java, a port is taken, or Evergreen's services are running already.
        """
        self.check()
        self.data.mkdir(parents=True, mode=0o700, exist_ok=True)
        for folder in ("run", "logs", "airflow", "serving"):
            (self.data / folder).mkdir(parents=True, exist_ok=True)
        if not passwords_of(self.data).exists():
            write_secret(passwords_of(self.data), json.dumps({"admin": secrets.token_urlsafe(9)}))
        atomic.write_text(self._started_file, json.dumps({"detached": detached, "ports": self.ports}))
        try:
            self._start(detached=detached)
        except BaseException:  # Ctrl-C, too: who starts them again is to find none, not half of them
            self.stop()
            raise

    def _start(self, *, detached: bool) -> None:
        subprocess.Popen(  # noqa: S603 - our own configuration
            [BIN / "supervisord", "-c", SUPERVISOR, "-n"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=None if detached else die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
        )
        has_history = (self.data / "airflow" / "airflow.db").exists()
        self.run("airflow", "db", "migrate")
        if has_history:
            self._forget_old_runs()
        self.run("supervisorctl", "-c", str(SUPERVISOR), "start", "airflow:*")
        self.run("airflow", "pools", "set", "training", "1", "One training at a time")

    def _forget_old_runs(self) -> None:
        # Airflow lets no task near its database, so that no DAG can do this.
        before = datetime.now(UTC) - timedelta(days=self._airflow_keep_days)
        self.run("airflow", "db", "clean", "--clean-before-timestamp", before.isoformat(), "--skip-archive", "--yes")

    def check(self) -> None:
        """Make sure that the services can start; stop those whose supervisor was killed.

        :raises StackError: if a restore was cut off, there is no Java, a port is taken, or the services run already.
        """
        if self.settings.restoring.exists():
            raise StackError(f"{self.data} is half restored: run `evergreen restore` again, with the same archive.")
        check_java()
        if self.is_up():
            raise StackError(f"Evergreen's services already run on {self.data}: `make down` first.")
        self.stop()  # what a supervisor that was killed has left behind would hold the ports and the database
        check_ports(self.ports)

    def check_running(self) -> None:
        """Make sure that the services that run are those that were asked for, and stay.

        :raises StackError: if they are a demo's or a test's, which end with it, or listen elsewhere.
        """
        if not self._started_file.exists():
            return  # services of a version that did not say
        started = json.loads(self._started_file.read_text())
        if not started["detached"]:
            raise StackError(f"The services on {self.data} are a demo's, and end with it: wait for that, or stop it.")
        if started["ports"] != self.ports:
            raise StackError(
                f"Evergreen's services already run on {self.data}, at the ports {started['ports']} and not at those "
                f"asked for, {self.ports}: `make down` first."
            )

    def wait_for(self, *names: str) -> None:
        """Wait until these services (all, if none is named) answer.

        :raises StackError: if one does not in time; names it and its log.
        """
        checks = self._checks()
        for name in names or tuple(checks):
            deadline = time.monotonic() + START_SECONDS
            while not answers(checks[name]):
                if not self.is_up():
                    raise StackError(f"The supervisor has ended: see {self.data / 'logs' / 'supervisor.log'}.")
                if time.monotonic() > deadline:
                    raise StackError(
                        f"{name} did not answer in {START_SECONDS} s: see the logs in {self.data / 'logs'}."
                    )
                time.sleep(0.2)

    def stop(self) -> int:
        """Stop every service, wait until all their processes are gone, and return how many there were.

        Also those whose supervisor was killed. Ctrl-C while this waits kills them at once: nothing is left either way.
        """
        supervisor, session = self._supervisor_pid(), self._last_pid()  # the file with it goes with the supervisor

        def left() -> list[psutil.Process]:
            return processes_of(str(self.data), ROOT, session=session)

        found = left()
        try:
            for process in [psutil.Process(supervisor)] if supervisor else found:
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
            psutil.wait_procs([each for each in found if supervisor in {None, each.pid}], timeout=STOP_SECONDS)
            # Airflow's workers are forked by a server process of their own, which does not always take them along.
            psutil.wait_procs(left(), timeout=2)
        finally:
            with uninterrupted():
                kill_all(left)
        return len(found)

    def run(self, *command: str) -> str:
        """Run one of the environment's commands with the services' settings and return its output.

        :raises StackError: with the end of its output, if it fails.
        """
        done = subprocess.run(  # noqa: S603 - our own commands
            [BIN / command[0], *command[1:]],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(
                f"`{' '.join(command)}` failed ({done.returncode}): {(done.stderr or done.stdout)[-2000:]}"
            )
        return done.stdout

    @property
    def _started_file(self) -> Path:
        return self.data / "run" / "started.json"

    @cached_property
    def environment(self) -> dict[str, str]:
        """Return the environment of every service; its secrets are made when it is first asked for."""
        return environment_of(self.data, self.ports, self.urls, self._airflow_settings)

    def _checks(self) -> dict[str, Callable[[], bool]]:
        urls = self.urls
        return {
            "Spark Connect": lambda: listens(self.ports["spark"]),
            "Airflow": lambda: airflow_is_healthy(urls["airflow"]),
            "endpoint": lambda: httpx.get(f"{urls['endpoint']}/ping").status_code == 200,
            "MLflow": lambda: httpx.get(f"{urls['mlflow']}/health").status_code == 200,
        }

    def _processes(self) -> list[psutil.Process]:
        return processes_of(str(self.data), ROOT, session=self._last_pid())

    def _supervisor_pid(self) -> int | None:
        pid = self._last_pid()
        return pid if pid is not None and _is_supervisor(pid) else None

    def _last_pid(self) -> int | None:
        try:
            return int((self.data / "run" / "supervisord.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None


def on_services() -> None:
    """Let this process use the Spark server of `make up`, whose token only its own user can read, where it runs."""
    stack = Stack()
    if "SPARK_REMOTE" not in os.environ and stack.is_up():
        os.environ["SPARK_REMOTE"] = stack.environment["SPARK_REMOTE"]


@contextmanager
def running(stack: Stack, console: Console) -> Iterator[Stack]:
    """Run the services for the length of a `with` block; they are gone afterwards, also after Ctrl-C."""
    stack.check()  # outside the block below: services that somebody else has started are not to be stopped
    try:
        with console.status("Starting the services …"):
            stack.start(detached=False)
        yield stack
    finally:
        with console.status("Stopping the services …"):
            stack.stop()


def _is_supervisor(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "supervisord" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
