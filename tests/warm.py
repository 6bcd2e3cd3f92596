"""Processes of trainings that begin warm: forked from one that has imported the framework, which takes them longest.

What a container would get is all they get: command, environment, folder, output. Everything else is as in a process
of its own: it is asked to end, killed, and leaves an exit code.
"""

import array
import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import IO, Any

from include.process import die_with_parent
from include.settings import ROOT

TOLD = ("PATH", "HOME", "TMPDIR")


class WarmProcess:
    """What `subprocess.Popen([python, *arguments], stdout=PIPE, stderr=STDOUT, process_group=0)` would be."""

    def __init__(
        self, connection: socket.socket, arguments: list[str], env: Mapping[str, str], output: IO[Any] | None = None
    ) -> None:
        reading, writing = os.pipe() if output is None else (os.open(os.devnull, os.O_RDONLY), os.dup(output.fileno()))
        self.stdout: IO[str] = os.fdopen(reading, encoding="utf-8", errors="replace")
        self._told = connection
        asked = json.dumps({"arguments": arguments, "env": dict(env)}).encode()
        self._told.sendmsg(
            [len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing]))]
        )
        self._told.sendall(asked)
        os.close(writing)
        self._lines = self._told.makefile()
        self.pid = int(self._lines.readline())
        self.began = time.time()
        self.ended_at: float | None = None
        self.returncode: int | None = None
        self.output: list[str] = []
        self._ended = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("a training", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def keep_output(self) -> "WarmProcess":
        """Read what it writes into `output`, so that it need not wait for a reader."""
        self._reader = threading.Thread(target=lambda: self.output.extend(self.stdout), daemon=True)
        self._reader.start()
        return self

    def finish(self, timeout: float = 300) -> tuple[int, str]:
        """Wait for the end of one whose output is kept, and return the exit code and the output."""
        try:
            code = self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._reader.join()
        return code, "".join(self.output)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _wait(self) -> None:
        self.returncode = int(self._lines.readline() or -signal.SIGKILL)
        self.ended_at = time.time()
        self._ended.set()
        self._told.close()


class Warm:
    """Starts processes that have imported some modules already.

    :param preloaded: their names; with `:name` a function of theirs is called, too.
    """

    def __init__(self, *preloaded: str) -> None:
        self._preloaded = preloaded
        self._lock = threading.Lock()
        self._server: subprocess.Popen[str] | None = None
        self._name = ""

    def start(self, arguments: list[str], env: Mapping[str, str], output: IO[Any] | None = None) -> WarmProcess:
        """Start `python *arguments`, which writes into a pipe or a file."""
        self.make_ready()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"\0{self._name}")
        return WarmProcess(connection, arguments, env, output)

    def make_ready(self) -> None:
        """Wait for the imports, the first time."""
        with self._lock:
            if self._server is None or self._server.poll() is not None:
                self._begin()

    def _begin(self) -> None:
        # It lives as long as its standard input is open: as this process. What is no setting of Airflow's is not told.
        told = {name: value for name, value in os.environ.items() if name in TOLD or name.startswith("AIRFLOW")}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", *self._preloaded],
            cwd=ROOT,
            env={**told, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._server.kill)
        assert self._server.stdout
        self._name = self._server.stdout.readline().strip()


TRAININGS = Warm(
    "sklearn.ensemble",
    "include.training.run",
    "include.training.pod",
    "include.training.report",
    "tests.warm:learn_once",
)
KERAS = Warm("include.training.keras_trainer")


class Subprocess:
    """The module `subprocess` for who starts trainings by it."""

    PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL

    @staticmethod
    def Popen(command: list[str], *, env: Mapping[str, str], stdout: Any, **_same: Any) -> WarmProcess:  # noqa: N802
        """Start one warm: without a session of its own or a limit of memory, and its mark is not to be found."""
        return TRAININGS.start(command[1:], env, None if stdout == subprocess.PIPE else stdout)


def serve(preloaded: list[str]) -> None:
    """Import, say where to ask, and fork until standard input is closed."""
    for each in preloaded:
        module, _, name = each.partition(":")
        found = import_module(module)
        if name:
            getattr(found, name)()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    name = f"evergreen-warm-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{name}")
    listener.listen(64)
    print(name, flush=True)  # noqa: T201
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            die_with_parent()
            listener.close()
            os._exit(_keep(connection))
        connection.close()


def learn_once() -> None:
    """Have PyTorch import what it does at a first step (its compiler, 2 s) and for a first graph."""
    import torch

    from include.training.torch_export import graph_of
    from include.training.torch_trainer import make_deterministic

    make_deterministic(0)
    network = torch.nn.Linear(1, 1)
    torch.optim.AdamW(network.parameters()).step()
    graph_of(network, 1)


def _keep(connection: socket.socket) -> int:
    """Fork one process, and say its number and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, passed, _, _ = connection.recvmsg(4, socket.CMSG_LEN(4))
    (output,) = array.array("i", passed[0][2])
    asked, wanted = b"", int.from_bytes(size, "big")
    while len(asked) < wanted:
        asked += connection.recv(wanted - len(asked))
    if (pid := os.fork()) == 0:
        connection.close()
        _become(json.loads(asked), output)
    os.close(output)
    _lead(pid)  # who is told the number may kill the group at once
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return 0


def _lead(pid: int) -> None:
    """Give a process a group of its own; it does so itself, too, whoever is quicker."""
    with suppress(OSError):
        os.setpgid(pid, 0)


def _become(asked: dict[str, Any], output: int) -> None:
    """Be that process."""
    _lead(0)
    die_with_parent()
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(asked["env"])
    arguments = [each for each in asked["arguments"] if each != "-u"]
    assert arguments[0] == "-m"
    sys.argv = arguments[1:]
    sys.modules.pop(arguments[1], None)  # else runpy says that it was imported before
    code = 1
    try:
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1:])
