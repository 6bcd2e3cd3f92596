"""What a policy would have made of a year that is over: the same functions as by night, without Airflow."""
