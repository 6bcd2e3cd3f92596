"""This file says where this installation keeps its data and finds its services: all from the environment."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from include.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
OBJECT_STORES = ("s3", "gs", "abfs", "abfss")


class Settings(BaseModel):
    """Where this installation keeps its data and finds its services; all from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    data: Path
    pipelines: Path
    platforms: Path
    ledger_url: str
    catalog_url: str
    tracking_url: str
    endpoint_url: str
    spark_remote: str | None
    airflow_logs: Path
    endpoint_key: str | None = Field(None, repr=False)
    limits_url: str | None = Field(None, repr=False)  # may hold a password
    lake_url: str | None = None  # an object store for tables and finished models; none: the data folder

    @property
    def lake(self) -> Path:
        """Return the folder of raw deliveries, tables, quarantine, predictions and reports."""
        return self.data / "lake"

    @property
    def warehouse(self) -> str:
        """Return the URI below which the tables lie: their metadata, and the files that were published."""
        return self.lake_url or f"file://{self.lake}"  # not `as_uri`: PyIceberg and fsspec take %20 for a folder's name

    @property
    def models(self) -> Path:
        """Return the folder of model artefacts."""
        return self.data / "models"

    @property
    def serving(self) -> Path:
        """Return the folder of the endpoint's declared state, one JSON per pipeline."""
        return self.data / "serving"

    @property
    def endpoint_headers(self) -> dict[str, str]:
        """Return what a request to the endpoint needs beside its body: the key, if there is one."""
        return {"Authorization": f"Bearer {self.endpoint_key}"} if self.endpoint_key else {}

    @property
    def restoring(self) -> Path:
        """Return the file that is there while a backup is being put back."""
        return self.data / "restoring"


def load_settings() -> Settings:
    """Read the settings from environment variables, with defaults for a laptop."""
    env = os.environ
    data = Path(env.get("EVERGREEN_DATA", ROOT / "data")).resolve()
    return Settings(
        data=data,
        pipelines=Path(env.get("EVERGREEN_PIPELINES", ROOT / "config" / "pipelines")).resolve(),
        platforms=Path(env.get("EVERGREEN_PLATFORMS", ROOT / "config" / "platforms")).resolve(),
        ledger_url=env.get("EVERGREEN_LEDGER_URL", f"sqlite:///{data / 'ledger.db'}"),
        catalog_url=env.get("EVERGREEN_CATALOG_URL", f"sqlite:///{data / 'lake' / 'catalog.db'}"),
        tracking_url=env.get("MLFLOW_TRACKING_URI", f"sqlite:///{data / 'mlflow.db'}"),
        endpoint_url=env.get(
            "EVERGREEN_ENDPOINT_URL", f"http://127.0.0.1:{env.get('EVERGREEN_ENDPOINT_PORT', '8090')}"
        ),
        spark_remote=env.get("SPARK_REMOTE"),
        airflow_logs=Path(env.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER", data / "airflow" / "logs")),
        endpoint_key=env.get("EVERGREEN_ENDPOINT_KEY"),
        limits_url=env.get("EVERGREEN_LIMITS_URL"),
        lake_url=_object_store(env.get("EVERGREEN_LAKE")),
    )


def _object_store(url: str | None) -> str | None:
    """Return the URI without a slash at its end; none, where none is set.

    :raises ConfigError: if it is no place in an object store, or not as PyIceberg can read it.
    """
    if not url:
        return None
    kind, _, place = url.partition("://")
    if kind not in OBJECT_STORES or not place.strip("/"):
        raise ConfigError(
            f"EVERGREEN_LAKE is '{url}', expected a place in an object store ({', '.join(OBJECT_STORES)}), such as "
            "s3://bucket/evergreen. A folder, also one that several machines have mounted, is set by EVERGREEN_DATA."
        )
    if "@" in place:
        raise ConfigError(
            f"EVERGREEN_LAKE is '{url}', and PyIceberg would take 'container@account' for a container's name: write "
            "abfs://container/folder, and name the account in AZURE_STORAGE_ACCOUNT_NAME."
        )
    return url.rstrip("/")


def load_variables(names: Iterable[str]) -> dict[str, str]:
    """Read variables that the clouds' own tools read as well; those that are not set are left out."""
    env = os.environ
    return {name: env[name] for name in names if env.get(name)}


@contextmanager
def working_in(data: Path) -> Iterator[Settings]:
    """Let this process, and those it starts, keep everything in another data folder for a while."""
    env = os.environ
    changed = {
        "EVERGREEN_DATA": str(data),
        "EVERGREEN_LAKE": "",
        "EVERGREEN_LEDGER_URL": f"sqlite:///{data / 'ledger.db'}",
        "EVERGREEN_CATALOG_URL": f"sqlite:///{data / 'lake' / 'catalog.db'}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{data / 'mlflow.db'}",
    }
    before = {name: env.get(name) for name in changed}
    env.update(changed)
    try:
        yield load_settings()
    finally:
        for name, value in before.items():
            if value is None:
                env.pop(name)
            else:
                env[name] = value


def load_connections(names: Iterable[str]) -> dict[str, str]:
    """Read the URLs of connections as Airflow reads them, from AIRFLOW_CONN_<ID>: for stages that run without Airflow.

    :raises ConfigError: naming the variable that is not set.
    """
    env, found = os.environ, {}
    for name in names:
        variable = f"AIRFLOW_CONN_{name.upper()}"
        if variable not in env:
            raise ConfigError(f"The connection '{name}' is not known here: set {variable} to its URL.")
        found[name] = env[variable]
    return found
