"""Services of a module's own, and a pipeline whose models are made quickly and all pass."""

import os

import pytest

SERVICES = ("AIRFLOW", "ENDPOINT", "MLFLOW", "SPARK")


@pytest.fixture(scope="module")
def own_services(free_ports):
    """Free ports in the environment, and nothing of the other tests' Airflow (tests/conftest.py)."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
            patch.delenv(name)
        for name, port in zip(SERVICES, free_ports(len(SERVICES)), strict=True):
            patch.setenv(f"EVERGREEN_{name}_PORT", str(port))
        yield


@pytest.fixture(scope="module")
def learning_rides(rides_yaml):
    """The YAML of `rides`, until a last night."""

    def write(last_night):
        text = rides_yaml.replace("holdout_days: 1", "holdout_days: 2, epochs: 8, batch_size: 32, learning_rate: 0.02")
        text = text.replace("{start: 2020-01-01}", f"{{start: 2020-01-01, end: {last_night}}}")
        return text + "gate: {metric: auc, margin: 1, min_gain: -1}\n"  # every challenger passes

    return write
