"""Killed at any step and started again, a training gives the weights of one that was never killed, to the last bit."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from include.settings import ROOT
from tests.warm import KERAS, TRAININGS, WarmProcess

MODULE = "tests.stages.training.resumable"
WARM = {"torch": TRAININGS, "keras": KERAS}
STEPS = 48
NEVER = 10_000
KILLED = -9
ONE, OTHER = random.Random(5).sample(range(2, STEPS), 2)  # noqa: S311 - seeded points
FRAMEWORKS = ["torch", "keras"]


def run(framework: str, folder: Path, step: int, how: str = "kill") -> tuple[int, str]:
    code, told = start(framework, folder, step, how).finish()
    if code not in {0, 75, KILLED}:
        raise AssertionError(told)
    return code, weights_in(told)


def start(framework: str, folder: Path, step: int, how: str = "kill", **env: str) -> WarmProcess:
    command = ["-m", MODULE, framework, str(folder), str(step), how]
    return WARM[framework].start(command, environment(folder) | env).keep_output()


def run_two(folder: Path, step: int) -> tuple[int, str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--log-dir", os.devnull]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", MODULE, "torch", str(folder), str(step), "kill"],
        capture_output=True,
        text=True,
        env=environment(folder),
        check=False,
        timeout=300,
    )
    return done.returncode, weights_in(done.stdout)


def weights_in(told: str) -> str:
    found = re.search(r"^weights: (\w+)$", told, re.MULTILINE)
    return found[1] if found else ""


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
            assert known[framework]
        return known[framework]

    return weights


@pytest.mark.parametrize(("framework", "step"), [("torch", ONE), ("torch", OTHER), ("keras", ONE)])
def test_killed_without_warning(framework: str, step: int, undisturbed: Callable[[str], str], tmp_path: Path) -> None:
    assert run(framework, tmp_path, step) == (KILLED, "")

    assert run(framework, tmp_path, NEVER) == (0, undisturbed(framework))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_asked_to_end(framework: str, undisturbed: Callable[[str], str], tmp_path: Path) -> None:
    assert run(framework, tmp_path, 20, "term") == (75, "")
    assert max(path.name for path in tmp_path.iterdir()).startswith("step-000000020.")

    assert run(framework, tmp_path, NEVER) == (0, undisturbed(framework))


def test_two_processes_go_on_together(tmp_path: Path) -> None:
    code, calm = run_two(tmp_path / "calm", NEVER)
    assert code == 0
    assert calm

    assert run_two(tmp_path / "killed", 33) == (1, "")
    assert run_two(tmp_path / "killed", NEVER) == (0, calm)


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
        started.append(start("keras", folder, step, TF_CONFIG=json.dumps(config)))
    ended = [process.finish() for process in started]
    return [(code, weights_in(told)) for code, told in ended]
