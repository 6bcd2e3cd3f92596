"""This file looks whether the local services can start, and whether they answer."""

import shutil
import socket
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from include.errors import StackError


def check_java() -> None:
    """Make sure that there is a Java.

    :raises StackError: if there is none.
    """
    if not shutil.which("java"):
        raise StackError("No Java found, and Spark needs 17 or 21. On Debian: apt-get install openjdk-17-jre-headless.")


def check_ports(ports: Mapping[str, int]) -> None:
    """Make sure that nobody listens at these ports, by name.

    :raises StackError: naming all that are taken, and the variables that change them.
    """
    taken = [name for name, port in ports.items() if not _is_free(port)]
    if taken:
        listed = ", ".join(f"{ports[name]} ({name}, EVERGREEN_{name.upper()}_PORT)" for name in taken)
        raise StackError(
            f"Taken by another program: port {listed}. Stop that program, or set the variable to a free port."
        )


def answers(is_ready: Callable[[], bool]) -> bool:
    """Ask a service; none that listens is a no."""
    try:
        return is_ready()
    except httpx.TransportError:
        return False


def airflow_is_healthy(url: str) -> bool:
    """Say whether all parts of Airflow work."""
    parts: dict[str, Any] = httpx.get(f"{url}/api/v2/monitor/health").json()
    return all(
        parts[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor", "triggerer")
    )


def listens(port: int) -> bool:
    """Say whether somebody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
