"""Killed at any step and started again, a training gives the weights of one that was never killed, to the last bit."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from include.settings import ROOT

SCRIPT = Path(__file__).with_name("resumable.py")
STEPS = 48
NEVER = 10_000
KILLED = -9
ONE, OTHER = random.Random(5).sample(range(2, STEPS), 2)  # noqa: S311 - seeded points
FRAMEWORKS = ["torch", "keras"]


def run(framework: str, folder: Path, step: int, how: str = "kill", processes: int = 1) -> tuple[int, str]:
    started = [sys.executable, str(SCRIPT)]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        started = [sys.executable, *torchrun, "--log-dir", os.devnull, str(SCRIPT)]
    done = subprocess.run(
        [*started, framework, str(folder), str(step), how],
        capture_output=True,
        text=True,
        env=environment(folder),
        check=False,
        timeout=300,
    )
    if done.returncode not in {0, 75, KILLED} and processes == 1:
        raise AssertionError(done.stderr)
    return done.returncode, done.stdout.strip()


def environment(folder: Path) -> dict[str, str]:
    # What is killed leaves its temporary files behind: they go with the test's.
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder.parent)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return the weights of an undisturbed training of a framework."""
    known: dict[str, str] = {}

    def weights(framework: str) -> str:
        if framework not in known:
            code, known[framework] = run(framework, tmp_path_factory.mktemp("calm"), NEVER)
            assert code == 0
        return known[framework]

    return weights


@pytest.mark.parametrize(("framework", "step"), [("torch", ONE), ("torch", OTHER), ("keras", ONE)])
def test_killed_without_warning(framework: str, step: int, undisturbed: Callable[[str], str], tmp_path: Path) -> None:
    assert run(framework, tmp_path, step) == (KILLED, "")

    assert run(framework, tmp_path, NEVER) == (0, undisturbed(framework))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_asked_to_end(framework: str, undisturbed: Callable[[str], str], tmp_path: Path) -> None:
    assert run(framework, tmp_path, 20, "term") == (75, "")
    assert max(path.name for path in tmp_path.iterdir()) == "step-000000020.npz"

    assert run(framework, tmp_path, NEVER) == (0, undisturbed(framework))


def test_two_processes_go_on_together(tmp_path: Path) -> None:
    code, calm = run("torch", tmp_path / "calm", NEVER, processes=2)
    assert code == 0

    assert run("torch", tmp_path / "killed", 33, processes=2) == (1, "")
    assert run("torch", tmp_path / "killed", NEVER, processes=2) == (0, calm)


def test_two_hosts_of_keras_go_on_together(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> None:
    calm = on_two_hosts(tmp_path / "calm", NEVER, free_ports(2))
    killed = on_two_hosts(tmp_path / "killed", 33, free_ports(2))
    again = on_two_hosts(tmp_path / "killed", NEVER, free_ports(2))

    assert [code for code, _ in calm + again] == [0, 0, 0, 0]
    assert KILLED in [code for code, _ in killed]
    assert (again[0][1], again[1][1]) == (calm[0][1], "")


def on_two_hosts(folder: Path, step: int, ports: list[int]) -> list[tuple[int, str]]:
    hosts = [f"127.0.0.1:{port}" for port in ports]
    started = []
    for index in range(2):
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        env = environment(folder) | {"TF_CONFIG": json.dumps(config)}
        command = [sys.executable, str(SCRIPT), "keras", str(folder), str(step), "kill"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env))
    found = []
    for process in started:
        said, _ = process.communicate(timeout=400)
        found.append((process.returncode, said.strip()))
    return found
