"""What can be done about a model that has gone stale: recalibrate it, put a former one back, or train a new one."""
