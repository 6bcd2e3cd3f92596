"""Operators: what a plain task cannot do (defer, stream and kill a process)."""
