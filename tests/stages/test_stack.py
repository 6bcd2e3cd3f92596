"""A real supervisor with real, short programs in place of the services: whatever dies, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from include import process as processes
from include import stack as stacks
from include.errors import StackError
from include.settings import ROOT
from include.stack import Stack

CONF = """
[supervisord]
nodaemon=true
logfile=%(ENV_EVERGREEN_DATA)s/logs/supervisor.log
childlogdir=%(ENV_EVERGREEN_DATA)s/logs
pidfile=%(ENV_EVERGREEN_DATA)s/run/supervisord.pid
[program:plain]
command=sleep 600
[program:parent]
; One child of its own session, and one that dies with nobody.
command=bash -c "setsid sleep 600 & sleep 600 & wait"
[program:renamed]
command={python} -c "import setproctitle, time; setproctitle.setproctitle('renamed ' * 2000); time.sleep(600)"
[program:leaver]
; What it leaves behind has overwritten its environment, too, like the workers of a scheduler that was killed.
command=bash -c "{python} -c \\"import setproctitle as s, time; s.setproctitle('left ' * 2000); time.sleep(600)\\" &"
startsecs=0
autorestart=false
[program:stubborn]
command=bash -c "trap '' TERM; exec sleep 600"
stopwaitsecs=30
"""
STARTED = 8  # the supervisor, four programs, two children of `parent`, what `leaver` has left


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "supervisord.conf"
    path.write_text(CONF.format(python=sys.executable))
    return path


@pytest.fixture
def stack(settings, conf, monkeypatch):
    monkeypatch.setattr(stacks, "SUPERVISOR", conf)
    monkeypatch.setattr(stacks, "STOP_SECONDS", 1)  # the stubborn one is not waited for
    monkeypatch.setattr(Stack, "run", lambda _self, *_command: "")
    monkeypatch.setattr(stacks, "check_java", lambda: None)
    for number, name in enumerate(("AIRFLOW", "ENDPOINT", "MLFLOW", "SPARK")):
        monkeypatch.setenv(f"EVERGREEN_{name}_PORT", str(28180 + number))
    found = Stack(settings)
    yield found
    processes.kill_all(found._processes)


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def all_run(stack):
    def is_renamed():
        titles = [each.cmdline()[:1] for each in stack._processes()]
        return ["renamed"] in titles and ["left"] in titles

    wait_for(lambda: stack.is_up() and len(stack._processes()) == STARTED and is_renamed())


def kill_supervisor(stack):
    supervisor = psutil.Process(stack._supervisor_pid())
    supervisor.kill()
    wait_for(lambda: not stack.is_up())


def test_what_a_service_has_left_behind_goes_too_when_the_supervisor_ends_in_peace(stack, conf, monkeypatch):
    monkeypatch.setattr(stacks, "STOP_SECONDS", 30)
    conf.write_text(conf.read_text().replace("trap '' TERM; ", ""))
    stack.start(detached=True)
    all_run(stack)
    running = stack._processes()

    assert stack.stop() == STARTED

    assert psutil.wait_procs(running, timeout=5)[1] == []


def test_services_whose_supervisor_was_killed_are_stopped(stack):
    stack.start(detached=True)
    all_run(stack)
    running = stack._processes()
    kill_supervisor(stack)
    assert len(stack._processes()) == STARTED - 1

    assert stack.stop() == STARTED - 1

    assert stack._processes() == []
    assert psutil.wait_procs(running, timeout=5)[1] == []
    assert stack.stop() == 0


def test_services_whose_supervisor_was_killed_make_room_for_new_ones(stack):
    stack.start(detached=True)
    all_run(stack)
    old = stack._processes()
    kill_supervisor(stack)

    stack.start(detached=True)
    all_run(stack)

    assert psutil.wait_procs(old, timeout=5)[1] == []


def test_nobody_elses_processes_are_stopped(stack, tmp_path):
    # The same programs: of another stack, from a shell that only has the data folder set, and in the same folder.
    environments = [{processes.MARK: str(tmp_path / "other")}, {"EVERGREEN_DATA": str(stack.data)}, {}]
    others = [
        subprocess.Popen(["sleep", "600"], cwd=ROOT, env=os.environ | each, start_new_session=True)
        for each in environments
    ]
    try:
        stack.start(detached=True)
        all_run(stack)
        stack.stop()
        assert [other.poll() for other in others] == [None, None, None]
    finally:
        for other in others:
            other.kill()
            other.wait()


SCRIPT = """
import signal, sys, time
from pathlib import Path
from rich.console import Console
from include import stack as stacks
# Where the tests run in the background of a script, Ctrl-C would be ignored from the start.
signal.signal(signal.SIGINT, signal.default_int_handler)
stacks.SUPERVISOR = Path(sys.argv[1])
stacks.Stack.run = lambda *_: ""
stacks.Stack._check_java = lambda _: None
with stacks.running(stacks.Stack(), Console(quiet=True)):
    print("up", flush=True)
    time.sleep(600)
"""


def test_a_second_ctrl_c_while_stopping_leaves_no_process(stack, conf):
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(conf)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert script.stdout.readline() == "up\n"
    all_run(stack)
    log = Path(stack.data / "logs" / "supervisor.log")

    script.send_signal(signal.SIGINT)
    wait_for(lambda: "received SIGTERM" in log.read_text(), 60)  # it is stopping; the stubborn one takes half a minute
    script.send_signal(signal.SIGINT)

    assert script.wait(20) != 0
    assert stack._processes() == []


def test_a_start_that_is_cut_off_leaves_nothing_half_started(stack, monkeypatch):
    def interrupt(_self, *_command):
        raise KeyboardInterrupt

    monkeypatch.setattr(Stack, "run", interrupt)

    with pytest.raises(KeyboardInterrupt):
        stack.start(detached=True)

    assert not stack.is_up()
    assert stack._processes() == []


def test_services_that_end_with_a_demo_or_listen_elsewhere_are_not_taken_for_those_asked_for(stack, monkeypatch):
    stack.start(detached=False)
    with pytest.raises(StackError, match="are a demo's"):
        stack.check_running()
    stack.stop()

    stack.start(detached=True)
    stack.check_running()
    monkeypatch.setenv("EVERGREEN_ENDPOINT_PORT", "28199")
    with pytest.raises(StackError, match="at the ports .*28181.*`make down` first"):
        Stack(stack.settings).check_running()
