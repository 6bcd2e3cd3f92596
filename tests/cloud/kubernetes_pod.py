"""This file runs a pod as a local process with the environment that its container would get.

What differs from a machine of its own: a mounted folder lies in a temporary one, so paths below the mount are told as
they are here; and a cluster's DNS names, where a headless Service gives them, are told as ports of 127.0.0.1. The root
file system, user and network are this machine's: that part of a manifest is validated, not enforced.
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.settings import ROOT
from tests.warm import TRAININGS

Thing = dict[str, Any]
Address = Callable[[str], str]  # of `host.service:port`, as it is reached here


class Process:
    """One container's process and its output."""

    def __init__(self, pod: Thing, folder: Path, secrets: Mapping[str, Any], configs: Any, address: Address) -> None:
        container = pod["spec"]["containers"][0]
        self.mounts = _mount(pod, folder, configs)
        self.labels: dict[str, str] = pod["metadata"]["labels"]
        self.lines: list[tuple[str, str]] = []
        env = _environment(pod, container, secrets, address)
        assert container["command"][0] == "python"
        self.process = TRAININGS.start(
            [self._here(part) for part in container["command"][1:]],
            {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                **{name: self._here(text) for name, text in env.items()},
            },
        )
        self.killed_for = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def terminate(self, grace_seconds: float) -> None:
        """Send SIGTERM, and after a while SIGKILL to all that is left."""

        def end() -> None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(grace_seconds)
            self.kill()

        threading.Thread(target=end, daemon=True).start()

    def kill(self, reason: str = "") -> None:
        self.killed_for = reason
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def ended(self) -> Thing | None:
        """Return what a kubelet says of a container that has ended; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        self._reader.join(5)
        said = "\n".join(line for _, line in self.lines[-80:])[-2048:] if code else ""
        reason = self.killed_for or ("Error" if code else "Completed")
        return {"exitCode": 128 - code if code < 0 else code, "reason": reason, "message": said, "finishedAt": now()}

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append((f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z", line.rstrip("\n")))
            time.sleep(0.000002)  # each its own microsecond

    def _here(self, text: str) -> str:
        for inside, folder in self.mounts.items():
            if text == inside or text.startswith(f"{inside}/"):
                return str(folder) + text[len(inside) :]
        return text


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _mount(pod: Thing, folder: Path, configs: Any) -> dict[str, Path]:
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    mounts = {}
    for mount in pod["spec"]["containers"][0]["volumeMounts"]:
        if mount["name"] == "shm":  # this machine's
            continue
        mounts[mount["mountPath"]] = place = folder / mount["name"]
        place.mkdir(parents=True)
        if config := volumes[mount["name"]].get("configMap"):
            for name, text in configs(config["name"])["data"].items():
                (place / name).write_text(text)
    return mounts


def _environment(pod: Thing, container: Thing, secrets: Mapping[str, Any], address: Address) -> dict[str, str]:
    """Return the variables, with `$(NAME)` of earlier ones put in and `$$` as a stroke of it, as a kubelet does."""
    env: dict[str, str] = {}
    for source in container.get("envFrom", []):
        env |= secrets[source["secretRef"]["name"]]
    for each in container["env"]:
        if "valueFrom" in each:
            (key,) = re.findall(r"annotations\['(.*)'\]", each["valueFrom"]["fieldRef"]["fieldPath"])
            env[each["name"]] = pod["metadata"]["annotations"][key]
            continue
        known = dict(env)
        text = re.sub(
            r"\$\$|\$\((\w+)\)",
            lambda found, known=known: "$" if found[0] == "$$" else known.get(found[1], found[0]),
            each["value"],
        )
        env[each["name"]] = re.sub(r"[\w-]+-\d+\.[\w-]+:\d+", lambda found: address(found[0]), text)
    # The Job's controller adds it by itself, after all others.
    return {**env, "JOB_COMPLETION_INDEX": pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]}
