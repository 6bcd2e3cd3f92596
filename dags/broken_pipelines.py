"""This file has no DAG: Airflow shows a YAML that cannot be read as this file's import error; all others run on."""

from include.config import broken_pipelines
from include.errors import ConfigError

if broken := broken_pipelines():
    raise ConfigError("\n".join(broken.values()))
