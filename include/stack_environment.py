"""This file says what the local services find in their environment: places, ports, and secrets that are made once."""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from include import atomic
from include.process import MARK
from include.settings import ROOT

BIN = Path(sys.executable).parent


def environment_of(
    data: Path, ports: Mapping[str, int], urls: Mapping[str, str], airflow: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of every service; its secrets are made when it is first asked for.

    :param airflow: Airflow's settings, as variables.
    """
    url = urls["airflow"]
    token = _secret(data, "spark-token")
    return {
        # Another Airflow's settings in this shell are not ours; ours are in config/platforms/local.yaml.
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHONDONTWRITE"))},
        **airflow,
        **{f"EVERGREEN_{name.upper()}_PORT": str(port) for name, port in ports.items()},
        "PATH": f"{BIN}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
        "EVERGREEN_DATA": str(data),
        MARK: str(data),
        "EVERGREEN_ENDPOINT_URL": urls["endpoint"],
        "MLFLOW_TRACKING_URI": urls["mlflow"],
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes that nothing here gives work to
        "SPARK_REMOTE": f"sc://127.0.0.1:{ports['spark']}/;token={token}",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": token,
        "AIRFLOW_HOME": str(data / "airflow"),
        # SQLite alone would give up after 5 s where another process writes, and Airflow with it.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{data / 'airflow' / 'airflow.db'}?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_of(data)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": _secret(data, "fernet-key") + "=",  # 32 bytes of base64, padded
        "AIRFLOW__API__PORT": str(ports["airflow"]),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": _secret(data, "api-key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(data, "jwt-key", 64),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(data / "airflow" / "logs"),
    }


def ports_of(usual: Mapping[str, int]) -> dict[str, int]:
    """Return each service's port: the usual one, unless a variable says another."""
    return {name: int(os.environ.get(f"EVERGREEN_{name.upper()}_PORT", port)) for name, port in usual.items()}


def passwords_of(data: Path) -> Path:
    """Return the file that holds the passwords of Airflow's users."""
    return data / "airflow" / "passwords.json"


def write_secret(file: Path, text: str) -> None:
    """Write a file that nobody else can read."""
    with atomic.replacing(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text)


def _secret(data: Path, name: str, num_bytes: int = 32) -> str:
    file = data / "run" / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_secret(file, secrets.token_urlsafe(num_bytes))
    return file.read_text()
