"""What became of a training, read from what a cluster says of its Job and pods."""

from datetime import UTC, datetime
from typing import Any

import pytest

from include.platforms.kubernetes_status import status_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGAN, ENDED = "2026-01-01T11:00:00Z", "2026-01-01T11:30:00Z"


def job(
    kind: str = "Failed", reason: str = "BackoffLimitExceeded", message: str = "the limit", parallelism: int = 1
) -> dict[str, Any]:
    condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": ENDED}
    status = {"startTime": BEGAN, "conditions": [condition]}
    return {"metadata": {"name": "one"}, "spec": {"parallelism": parallelism}, "status": status}


def pod(code: int | None = None, reason: str = "Error", message: str = "", **status: Any) -> dict[str, Any]:
    state = {} if code is None else {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return {"status": {"startTime": BEGAN, "containerStatuses": [{"state": state}], **status}}


TAKEN = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "for another"}]
RULE = "Pod default/one-0 has condition DisruptionTarget matching FailJob rule at index 0"


@pytest.mark.parametrize(
    ("found", "pods", "state", "said"),
    [
        (None, [], "gone", "no Job"),
        (job("Complete"), [pod(0)], "succeeded", ""),
        (job(), [pod(65, message="a\nToo few rows\n")], "refused", "Too few rows"),
        (job(), [pod(1), pod(65, message="Too few rows")], "refused", "Too few rows"),
        (job(), [pod(75, message="stopped after step 9")], "interrupted", "stopped after step 9"),
        (job(), [pod(143)], "interrupted", "asked to end"),
        (job(), [pod(1, conditions=TAKEN)], "interrupted", "PreemptionByScheduler: for another"),
        (job(), [pod(1), pod(137, conditions=TAKEN)], "interrupted", "PreemptionByScheduler"),
        (job(), [{"status": {"reason": "NodeLost"}}], "interrupted", "NodeLost"),
        (job("Failed", "PodFailurePolicy", RULE), [], "interrupted", "DisruptionTarget"),
        (job("Failed", "PodFailurePolicy", "Container x failed with exit code 65 matching"), [], "refused", "65"),
        (job(), [pod(137, "OOMKilled")], "failed", "Out of memory"),
        (job(), [pod(1, message="a\nKeyError: 'x'")], "failed", "Exit code 1: KeyError: 'x'"),
        (job("Failed", "DeadlineExceeded", "too long"), [pod(75)], "failed", "longer than its lease"),
        (job("Failed", "DeadlineExceeded", "too long", parallelism=0), [pod(75)], "interrupted", "told to end"),
        (job("Failed", "BackoffLimitExceeded", parallelism=0), [pod(137, "OOMKilled")], "failed", "Out of memory"),
        (job("FailureTarget", parallelism=0), [pod()], "running", "being stopped"),
        (
            job(),
            [{"status": {"reason": "Evicted", "message": 'Usage of EmptyDir volume "scratch" exceeds the limit'}}],
            "failed",
            "exceeds the limit",
        ),
        (job("FailureTarget"), [pod()], "running", ""),
        (job("Suspended"), [], "running", "waits for its pods"),
    ],
)
def test_what_became_of_it(found: Any, pods: list[Any], state: str, said: str) -> None:
    status = status_of(found, pods, NOW)

    assert status.state == state
    assert said in status.reason


def test_only_the_time_with_a_machine_is_counted() -> None:
    late = pod(0)
    late["status"]["startTime"] = "2026-01-01T11:20:00Z"

    assert status_of(job("Complete"), [late], NOW).seconds == 600
    assert status_of(job("Complete"), [], NOW).seconds == 1800
    assert status_of(job("FailureTarget"), [pod()], NOW).seconds == 3600


def test_what_it_waits_for_is_said() -> None:
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    waits = {"status": {"conditions": [full]}}
    stuck = {"status": {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}]}}

    assert status_of(job("Suspended"), [waits], NOW).reason == "No machine is free for it: 0/3 nodes"
    assert status_of(job("Suspended"), [stuck], NOW).reason == "ImagePullBackOff: no"
