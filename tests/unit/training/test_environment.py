"""Which of several machines this is, as SageMaker tells it."""

import json
from pathlib import Path

import pytest

from include.training.environment import machines, place_by_tensorflow, take_place


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the third of eleven machines finds."""
    names = sorted(f"algo-{number}" for number in range(1, 12))
    about = {"current_host": "algo-3", "hosts": names, "network_interface_name": "eth0"}
    (tmp_path / "resourceconfig.json").write_text(json.dumps(about))
    monkeypatch.setenv("EVERGREEN_RESOURCES", str(tmp_path / "resourceconfig.json"))
    for name in ("EVERGREEN_NODE", "EVERGREEN_NODES", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TF_CONFIG"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)


def test_a_machine_is_known_by_its_number_and_not_by_its_place_in_the_alphabet(told: None) -> None:
    take_place()
    take_place()  # each of its processes asks

    assert (machines().index, machines().count) == (2, 11)


def test_tensorflow_s_own_variable_is_given_the_number(told: None, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [f"algo-{number}:2222" for number in range(1, 12)]
    config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))

    take_place()

    assert (place_by_tensorflow().rank, place_by_tensorflow().world) == (2, 11)


def test_one_that_is_told_nothing_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERGREEN_RESOURCES", raising=False)

    take_place()

    assert (machines().index, machines().count) == (0, 1)
