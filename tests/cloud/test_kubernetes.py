"""Trainings on a cluster: the stand-in's API is asked as a real one would be, and the jobs behind it really run."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import artefact
from include.errors import ArtefactError, ConfigError, PlatformError, PlatformRefusedError
from include.platforms.base import Job, Order
from include.platforms.kubernetes import Kubernetes
from include.platforms.kubernetes_settings import Machine
from include.training.spec import Spec
from tests.cloud.kubernetes_api import CUT, LOST, KubernetesApi, settings_of
from tests.cloud.kubernetes_cluster import wait_for
from tests.stages.training.conftest import make_spec, rows  # noqa: F401 - fixtures

SECRET = "hunter2-in-a-secret"  # noqa: S105


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubernetesApi]:
    api = KubernetesApi(tmp_path / "pods")
    api.secrets["mlflow-login"] = {"MLFLOW_TRACKING_PASSWORD": SECRET}
    yield api
    api.close()


@pytest.fixture
def platform(cluster: KubernetesApi, rides: Any, tmp_path: Path) -> Kubernetes:
    """The platform as it is set up for that cluster, with a folder as storage."""
    settings = settings_of(
        cluster,
        tmp_path,
        grace_seconds=20,
        poll_seconds=0.1,
        machines={"cpu": Machine()},
    )
    return Kubernetes(settings)


@pytest.fixture
def spec(rides: Any, rows: pa.Table, make_spec: Callable[..., Spec], tmp_path: Path) -> Spec:  # noqa: F811
    (tmp_path / "rows").mkdir()
    pq.write_table(rows, tmp_path / "rows" / "a.parquet")
    return make_spec(rows=tmp_path / "rows", folder=tmp_path / "models" / "rides.first.one", snapshot_id=None)


def slow(spec: Spec, **changes: Any) -> Spec:
    training = spec.training.model_copy(update={"epochs": 100, "checkpoint_seconds": 0.1})
    return spec.model_copy(update={"training": training, **changes})


def order(spec: Spec, attempt: int = 1, seconds: float = 600, **changes: Any) -> Order:
    return Order(f"rides-first-one-{attempt}", spec, datetime.now(UTC) + timedelta(seconds=seconds), **changes)


def ended(platform: Kubernetes, job: Job) -> Any:
    return wait_for(lambda: status if (status := platform.status(job)).state != "running" else None)


def has_checkpoint(tmp_path: Path) -> bool:
    return any((tmp_path / "storage").rglob("checkpoints/*/*.npz"))


def test_a_training_is_seen_to_its_end_and_leaves_nothing(
    platform: Kubernetes, cluster: KubernetesApi, spec: Spec, tmp_path: Path
) -> None:
    asked = order(spec)
    job = platform.submit(asked)
    assert platform.submit(asked) == job == platform.leased()[0].job

    lines = list(platform.follow(job))
    assert any(line.startswith("Model ") for line in lines)
    assert len(lines) == len(cluster.processes.popitem()[1].lines)
    status = platform.status(job)
    assert status.state == "succeeded"
    assert status.seconds is not None
    platform.collect(job, spec)
    platform.clean_up(job)

    assert cluster.created == ["rides-first-one-1"]
    assert platform.leased() == []
    assert platform.submit(asked) == job, "as long as it is there, its name is not given again"
    cluster.let_time_go_by()
    wait_for(lambda: not cluster.things)
    assert not any((tmp_path / "storage").rglob("*.parquet"))
    assert platform.status(job).state == "gone"
    assert not any(SECRET in manifest for manifest in cluster.manifests)


def test_an_interrupted_training_goes_on_from_its_checkpoint(
    platform: Kubernetes, cluster: KubernetesApi, spec: Spec, tmp_path: Path
) -> None:
    asked = slow(spec)
    first = platform.submit(order(asked, is_spot=True))
    wait_for(lambda: has_checkpoint(tmp_path))
    cluster.interrupt("rides-first-one-1")

    status = ended(platform, first)
    assert status.state == "interrupted"
    assert "TerminationByKubelet" in status.reason

    cluster.cut_log_after = 3
    lines = list(platform.follow(platform.submit(order(asked, attempt=2))))
    assert sum(line.startswith("Go on from step") for line in lines) == 1
    # A step may be saved twice, at its time and at an end; epochs are what is told once.
    epochs = [line for line in lines if line.startswith("Epoch ")]
    assert len(epochs) == len(set(epochs)), "what was read before the connection broke is not read again"
    platform.collect(Job("rides-first-one-2"), asked)
    assert len(artefact.read_manifest(asked.folder)["losses"]) == 100


def test_a_stopped_one_is_paid_for_until_its_machine_is_free(
    platform: Kubernetes, cluster: KubernetesApi, spec: Spec, tmp_path: Path
) -> None:
    job = platform.submit(order(slow(spec)))
    wait_for(lambda: has_checkpoint(tmp_path))
    (process,) = cluster.processes.values()

    platform.stop(job)
    assert platform.status(job).state == "running"
    assert ended(platform, job).state == "interrupted"
    assert process.process.poll() is not None
    platform.stop(job)
    cluster.let_time_go_by()
    wait_for(lambda: not cluster.things)


def test_one_that_somebody_deletes_is_gone_when_its_pods_are(
    platform: Kubernetes, cluster: KubernetesApi, spec: Spec
) -> None:
    job = platform.submit(order(slow(spec)))
    wait_for(lambda: cluster.processes)
    with cluster.lock:
        cluster.delete(cluster.things["Job", "rides-first-one-1"])

    assert ended(platform, job).state == "gone"
    assert not cluster.things


def test_one_that_is_stopped_before_it_was_let_go_never_has_a_pod_and_keeps_its_name(
    platform: Kubernetes, cluster: KubernetesApi, spec: Spec
) -> None:
    cluster.faults.extend([0, 0, CUT])  # get, create; the wall never comes
    with pytest.raises(PlatformError):
        platform.submit(order(spec))
    (left,) = platform.leased()

    platform.stop(left.job)

    assert ended(platform, left.job).state == "interrupted"
    assert platform.submit(order(spec)) == left.job
    assert not cluster.processes
    assert platform.leased() == []


def test_refused_input_and_failures_say_why(platform: Kubernetes, cluster: KubernetesApi, spec: Spec) -> None:
    broken = spec.model_copy(update={"training": spec.training.model_copy(update={"model": "no.such:model"})})

    refused = ended(platform, platform.submit(order(broken)))

    assert refused.state == "refused"
    assert "no.such:model" in refused.reason
    with pytest.raises(ArtefactError, match=r"files\.json is missing"):
        platform.collect(Job("rides-first-one-1"), broken)

    hungry = platform.submit(order(slow(spec), attempt=2))
    wait_for(lambda: len(cluster.processes) == 2)
    cluster.run_out_of_memory(hungry.name)
    failed = ended(platform, hungry)
    assert failed.state == "failed"
    assert failed.reason.startswith("Out of memory")


def test_what_outlives_its_lease_is_ended(platform: Kubernetes, spec: Spec) -> None:
    status = ended(platform, platform.submit(order(slow(spec), seconds=1)))

    assert status.state == "failed"
    assert "longer than its lease" in status.reason


def test_one_without_a_machine_says_so_while_it_waits(platform: Kubernetes, cluster: KubernetesApi, spec: Spec) -> None:
    cluster.is_full = True
    job = platform.submit(order(spec))
    wait_for(lambda: "0/3 nodes are available" in platform.status(job).reason)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(platform.follow(job)))
    reader.start()
    wait_for(lambda: any("No machine is free for it" in line for line in lines))

    platform.stop(job)

    reader.join(20)
    assert not reader.is_alive()
    assert platform.status(job).state == "interrupted"
    assert not cluster.processes


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (429, PlatformError),
        (503, PlatformError),
        (CUT, PlatformError),
        (401, PlatformError),
        (403, PlatformRefusedError),
    ],
)
def test_bad_moments_of_the_api_are_told_from_refusals(
    platform: Kubernetes, cluster: KubernetesApi, spec: Spec, fault: Any, expected: type[Exception]
) -> None:
    cluster.is_full = True
    calls: list[Callable[[], Any]] = [
        lambda: platform.submit(order(spec)),
        lambda: platform.status(Job("rides-first-one-1")),
        platform.leased,
        lambda: platform.stop(Job("rides-first-one-1")),
    ]
    for call in calls:
        cluster.faults.append(fault)
        with pytest.raises(expected):
            call()
        call()
    assert cluster.created == ["rides-first-one-1"]


@pytest.mark.parametrize("how", [CUT, LOST])
@pytest.mark.parametrize("killed_after", range(1, 5))
def test_a_submit_that_was_cut_off_is_gone_on_with(
    platform: Kubernetes, cluster: KubernetesApi, spec: Spec, killed_after: int, how: str
) -> None:
    cluster.is_full = True
    # get, create, the wall, release
    cluster.faults.extend([*[0] * (killed_after - 1), how])
    with pytest.raises(PlatformError):
        platform.submit(order(spec))

    platform.submit(order(spec))

    assert cluster.created == ["rides-first-one-1"]
    assert [kind for kind, _ in cluster.things if kind != "Pod"] == ["Job", "NetworkPolicy"]
    wait_for(lambda: platform.status(Job("rides-first-one-1")).reason.startswith("No machine"))


def test_what_a_cluster_will_never_run_is_refused(platform: Kubernetes, spec: Spec) -> None:
    with pytest.raises(PlatformRefusedError, match="platform `local`"):
        platform.submit(order(spec.model_copy(update={"repair": "recalibrate"})))
    with pytest.raises(ConfigError, match=r"no 'cuda'.*There: cpu"):
        platform.submit(
            order(spec.model_copy(update={"training": spec.training.model_copy(update={"accelerator": "cuda"})}))
        )


def test_a_model_that_was_altered_on_its_way_is_not_taken(platform: Kubernetes, spec: Spec, tmp_path: Path) -> None:
    job = platform.submit(order(spec))
    assert ended(platform, job).state == "succeeded"
    (model,) = (tmp_path / "storage").rglob(artefact.MODEL)
    model.write_bytes(model.read_bytes() + b" ")

    with pytest.raises(ArtefactError, match=r"model\.onnx: sha256 is"):
        platform.collect(job, spec)

    assert not spec.folder.exists()
