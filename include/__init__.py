"""Plain Python behind the DAGs: every stage as functions that run without Airflow."""
