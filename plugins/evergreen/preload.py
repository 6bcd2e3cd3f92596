"""This file imports, once, what the tasks of a night need: Airflow's workers are forked from a process that has it.

Named in `AIRFLOW__CORE__MP_FORKSERVER_PRELOAD` (config/platforms/local.yaml). Importing Airflow's task runner, Great
Expectations, Evidently, MLflow and Spark's client takes longer than a small night's work with them.
"""

import gc
import logging

from evergreen.edits import heed_edits

logging.getLogger("great_expectations").setLevel(logging.WARNING)  # it tells at length what it does not document

heed_edits("include", "evergreen")

# ruff: noqa: E402, F401 - imported to be there, after the lines above
import airflow.executors.local_executor
import airflow.sdk.execution_time.supervisor
import airflow.sdk.execution_time.task_runner
import evidently.metrics
import evidently.presets
import pyspark.sql.connect.session
import scipy.stats
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.plugins_manager import integrate_macros_plugins

import include.cleaning.job
import include.gatekeeping
import include.ingestion.delivery
import include.ingestion.late_labels
import include.monitoring.deciding
import include.monitoring.measuring
import include.monitoring.windows
import include.publication
import include.registry
import include.rollout
import include.sweeping
import include.validation
import include.verification
from include.settings import ROOT

integrate_macros_plugins()  # what every task does first: loads all plugins
DagBag(dag_folder=str(ROOT / "dags"))

# A collection in a forked task would touch, and so copy, every page of all this: half a second per task.
gc.collect()
gc.freeze()
