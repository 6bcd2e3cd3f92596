"""What Airflow needs beyond plain functions: operators, triggers, alerts, the page in its UI."""
