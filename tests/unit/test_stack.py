import os
import shlex
import socket
import stat
from pathlib import Path

import pytest
from rich.console import Console
from supervisor.options import ServerOptions

from include import stack as stacks
from include.errors import StackError
from include.stack import Stack, running

SERVICES = ("AIRFLOW", "ENDPOINT", "MLFLOW", "SPARK")


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """The commands that would have been started: a test that starts one has failed."""
    commands = []
    monkeypatch.setattr(stacks.subprocess, "Popen", lambda command, **_more: commands.append(command))
    monkeypatch.setattr(stacks.subprocess, "run", lambda command, **_more: commands.append(command))
    return commands


@pytest.fixture
def ports(monkeypatch):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in SERVICES]
    for name, each in zip(SERVICES, sockets, strict=True):
        each.bind(("127.0.0.1", 0))
        monkeypatch.setenv(f"EVERGREEN_{name}_PORT", str(each.getsockname()[1]))
    for each in sockets:
        each.close()


@pytest.fixture
def stack(settings, ports, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/java")
    return Stack(settings)


def test_a_taken_port_is_named_with_the_variable_that_changes_it(stack, started):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.ports["mlflow"]))
        taken.listen()

        with pytest.raises(StackError, match=rf"port {stack.ports['mlflow']} \(mlflow, EVERGREEN_MLFLOW_PORT\)"):
            stack.start(detached=True)

    assert started == []


def test_without_java_nothing_is_started(stack, started, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)

    with pytest.raises(StackError, match="No Java found"):
        stack.start(detached=True)

    assert started == []


def test_services_that_run_already_are_neither_started_again_nor_stopped(stack, started, monkeypatch):
    stopped = []
    monkeypatch.setattr(Stack, "is_up", lambda _self: True)
    monkeypatch.setattr(Stack, "stop", lambda _self: stopped.append(True))

    with pytest.raises(StackError, match="already run"), running(stack, Console(quiet=True)):
        pass

    assert (started, stopped) == ([], [])


def test_a_pid_of_another_program_is_not_our_supervisor(stack):
    (stack.data / "run").mkdir(parents=True)
    (stack.data / "run" / "supervisord.pid").write_text(str(os.getpid()))

    assert not stack.is_up()
    stack.stop()


def test_secrets_are_for_their_owner_alone_and_stay_the_same(stack, settings):
    assert not (stack.data / "run").exists(), "a look at the services writes nothing"
    assert stack.environment
    files = sorted(path for path in (stack.data / "run").iterdir() if path.suffix != ".pid")

    assert [path.name for path in files] == ["api-key", "fernet-key", "jwt-key", "spark-token"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert len({path.read_text() for path in files}) == len(files)
    again = Stack(settings).environment
    secret = [name for name, value in again.items() if value.rstrip("=") in {path.read_text() for path in files}]
    assert len(secret) == 4
    assert [again[name] for name in secret] == [stack.environment[name] for name in secret]


def test_a_crash_while_a_secret_is_written_leaves_none(stack, monkeypatch):
    def crash(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", crash)
        with pytest.raises(KeyboardInterrupt):
            _ = stack.environment

    assert [path.name for path in (stack.data / "run").iterdir()] == []
    assert stack.environment["AIRFLOW__API__SECRET_KEY"]


def test_a_password_is_made_at_the_first_start(stack, started, monkeypatch):
    monkeypatch.setattr(Stack, "run", lambda _self, *command: started.append(command))

    stack.start(detached=True)
    first = stack.password
    stack.start(detached=True)

    file = stack.data / "airflow" / "passwords.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stack.password == first
    assert len(first) >= 12


def test_the_services_are_told_where_the_others_listen(stack):
    environment, ports = stack.environment, stack.ports

    assert environment["EVERGREEN_ENDPOINT_URL"] == f"http://127.0.0.1:{ports['endpoint']}"
    assert environment["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{ports['mlflow']}"
    assert environment["SPARK_REMOTE"].startswith(f"sc://127.0.0.1:{ports['spark']}/;token=")
    assert environment["AIRFLOW__API__PORT"] == str(ports["airflow"])
    assert environment["EVERGREEN_DATA"] == str(stack.data)


@pytest.mark.parametrize("has_history", [False, True])
def test_a_start_cleans_airflows_old_records_where_there_are_any(stack, monkeypatch, has_history):
    commands = []
    monkeypatch.setattr(Stack, "run", lambda _stack, *command: commands.append(command[:3]))
    if has_history:
        (stack.data / "airflow").mkdir(parents=True)
        (stack.data / "airflow" / "airflow.db").touch()

    stack.start(detached=True)

    assert (("airflow", "db", "clean") in commands) == has_history
    assert commands[0] == ("airflow", "db", "migrate")


@pytest.fixture
def options(settings, ports, tmp_path, monkeypatch):
    """What the supervisor reads in its configuration, of a data folder whose name holds a space."""
    roomy = Stack(settings.model_copy(update={"data": tmp_path / "My Projects" / "data"}))
    (roomy.data / "logs").mkdir(parents=True)
    for name, value in roomy.environment.items():
        monkeypatch.setenv(name, value)
    found = ServerOptions()  # it takes the variables in its configuration from those there are when it is made
    found.realize(["-c", str(stacks.SUPERVISOR)])
    return found


def test_a_space_in_the_data_folder_splits_no_path_of_the_supervisors(options):
    data = os.environ["EVERGREEN_DATA"]
    programs = {program.name: program for group in options.process_group_configs for program in group.process_configs}

    words = [word for program in programs.values() for word in shlex.split(program.command)]
    assert [word for word in words if "Projects" in word] == [f"sqlite:///{data}/mlflow.db", f"{data}/mlartifacts"]
    values = [value for program in programs.values() for value in program.environment.values()]
    assert values == [f"sqlite:///{data}/airflow/airflow.db?timeout=2"]
    files = [options.logfile, options.pidfile, *(program.stdout_logfile for program in programs.values())]
    assert all(str(file).startswith(f"{data}/") for file in files)
