"""Measurements that take minutes; `make bench` runs them and writes bench/results.json."""
