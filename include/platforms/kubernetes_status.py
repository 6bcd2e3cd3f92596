"""This file reads what a cluster says of a Job and its pods; it decides what became of the training."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from include.platforms.base import Status
from include.training.outcome import BAD_INPUT, RESUME

Found = Mapping[str, Any]

TERMINATED = 143  # by a SIGTERM that came before anybody listened
# https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions; as a pod's own reason:
LOST = {"NodeLost", "NodeShutdown", "Terminated", "Preempting", "Shutdown"}
STUCK = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"}


def status_of(job: Found | None, pods: Sequence[Found], now: datetime) -> Status:
    """Return a training's state, why, and for how many seconds it had its machines.

    :param job: as the API gives it; None: there is none.
    """
    if job is None:
        return Status("gone", "The cluster has no Job of that name.")
    seconds = _seconds(job, pods, now)
    if _condition(job, "Complete"):
        return Status("succeeded", "", seconds)
    failed = _condition(job, "Failed")
    if not failed:  # a Job that is failing ends its pods first, and those are paid for
        return Status("running", waiting(job, pods), seconds)
    return _ended(failed, pods, seconds, is_stopped=is_stopped(job))


def is_over(job: Found) -> bool:
    """Tell whether a Job has ended, and all its pods."""
    return bool(_condition(job, "Complete") or _condition(job, "Failed"))


def is_stopped(job: Found) -> bool:
    """Tell whether a Job was told to end: it is to have no pods."""
    return bool(job["spec"].get("parallelism") == 0)


def waiting(job: Found, pods: Sequence[Found]) -> str:
    """Return what a Job waits for, in words; "" if it trains."""
    if "deletionTimestamp" in job["metadata"] or is_stopped(job):
        return "It is being stopped."
    for pod in pods:
        scheduled = _condition(pod, "PodScheduled", "False")
        if scheduled and scheduled.get("reason") == "Unschedulable":
            return f"No machine is free for it: {scheduled.get('message', '')}"
        for container in pod["status"].get("containerStatuses", []):
            why = container["state"].get("waiting", {})
            if why.get("reason") in STUCK:
                return f"{why['reason']}: {why.get('message', '')}"
    return "" if pods else "It waits for its pods."


def _ended(failed: Found, pods: Sequence[Found], seconds: float | None, *, is_stopped: bool) -> Status:
    said = f"{failed.get('reason', '')}: {failed.get('message', '')}"
    ends = [end for pod in pods for end in _ends(pod)]
    codes = {end["exitCode"] for end in ends} | {int(code) for code in re.findall(r"exit code (\d+)", said)}
    told = next((text for code in (BAD_INPUT, RESUME) if (text := _message(ends, code))), said)
    if BAD_INPUT in codes:
        return Status("refused", told, seconds)
    if failed.get("reason") == "DeadlineExceeded":
        if is_stopped:
            return Status("interrupted", "It was told to end.", seconds)
        return Status("failed", f"It took longer than its lease and was ended ({failed.get('message', '')})", seconds)
    if why := next(filter(None, map(_disruption, pods)), "DisruptionTarget" if "DisruptionTarget" in said else ""):
        return Status("interrupted", f"Its machine was taken away ({why})", seconds)
    if any(end.get("reason") == "OOMKilled" for end in ends):
        return Status(
            "failed",
            "Out of memory: it wanted more than its `memory` in config/platforms/kubernetes.yaml. Give that machine "
            "more, or take a smaller batch.",
            seconds,
        )
    if codes & {RESUME, TERMINATED}:
        return Status("interrupted", f"It was asked to end: {told}", seconds)
    if broken := next((end for end in ends if end["exitCode"]), None):
        last = broken.get("message", "").strip().splitlines()[-1:] or [broken.get("reason", "")]
        return Status("failed", f"Exit code {broken['exitCode']}: {last[0]}", seconds)
    return Status("failed", next(filter(None, (pod["status"].get("message") for pod in pods)), said), seconds)


def _message(ends: Sequence[Found], code: int) -> str:
    lines = [line for end in ends if end["exitCode"] == code for line in end.get("message", "").strip().splitlines()]
    return lines[-1] if lines else ""


def _disruption(pod: Found) -> str:
    if found := _condition(pod, "DisruptionTarget"):
        return f"{found.get('reason', '')}: {found.get('message', '')}"
    reason = str(pod["status"].get("reason", ""))
    return reason if reason in LOST else ""


def _ends(pod: Found) -> list[Found]:
    states = (each["state"] for each in pod["status"].get("containerStatuses", []))
    return [state["terminated"] for state in states if "terminated" in state]


def _condition(thing: Found, kind: str, status: str = "True") -> Found | None:
    found = thing.get("status", {}).get("conditions") or []
    return next((each for each in found if each["type"] == kind and each["status"] == status), None)


def _seconds(job: Found, pods: Sequence[Found], now: datetime) -> float | None:
    """Return the time from when the first pod had a machine, or if they are gone the Job began, to its end."""
    starts = [pod["status"]["startTime"] for pod in pods if pod["status"].get("startTime")]
    began = min(starts, default=job.get("status", {}).get("startTime"))
    if not began:
        return None
    over = _condition(job, "Complete") or _condition(job, "Failed")
    ended = datetime.fromisoformat(over["lastTransitionTime"]) if over else now
    return max(0.0, (ended - datetime.fromisoformat(began)).total_seconds())
