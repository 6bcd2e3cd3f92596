"""What `evergreen plan` says of a cluster, and what `--check` finds of the stand-in's."""

import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.accelerators import accelerator_named
from include.errors import PlatformRefusedError
from include.finding import Finding
from include.platforms.base import Order
from include.platforms.kubernetes import Kubernetes
from include.platforms.kubernetes_check import RIGHTS
from include.platforms.kubernetes_settings import Machine, load_kubernetes_settings
from include.settings import ROOT
from include.training.spec import Spec
from tests.cloud.conftest import spec_of
from tests.cloud.kubernetes_api import KubernetesApi, settings_of


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubernetesApi]:
    api = KubernetesApi(tmp_path / "pods")
    api.secrets["mlflow-login"] = {"MLFLOW_TRACKING_PASSWORD": "x"}
    yield api
    api.close()


@pytest.fixture
def found(cluster: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """Return a function that checks, with other settings where keywords say so."""
    # A busy machine is no cluster that is away.
    monkeypatch.setattr("include.platforms.kubernetes_check.QUICK", (30, 60))
    monkeypatch.setattr("include.platforms.kubernetes_check.PATIENCE", 60.0)
    monkeypatch.setattr("include.platforms.touching.PATIENCE", 60.0)
    settings = settings_of(
        cluster,
        tmp_path,
        machines={"cpu": Machine(node_selector={"pool": "trainings"})},
    )
    cluster.looks.nodes = [{"pool": "trainings"}, {"pool": "others"}]

    def look(**changes: Any) -> dict[str, Finding]:
        there = Kubernetes(settings.model_copy(update=changes))
        return {each.what: each for each in there.check(order(tmp_path, is_spot=False))}

    return look


def order(folder: Path, accelerator: str = "cpu", *, is_spot: bool = True, **recipe: Any) -> Order:
    spec: Spec = spec_of(folder / "models", folder, "REQUEST", accelerator=accelerator, **recipe)
    spec = spec.model_copy(update={"accelerator": accelerator_named(accelerator)})
    return Order("rides-1", spec, datetime.now(UTC) + timedelta(hours=2), is_spot)


def test_a_cluster_that_has_it_all_is_found_so(
    found: Callable[..., Any], cluster: KubernetesApi, tmp_path: Path
) -> None:
    findings = found()

    unknown = {name for name, each in findings.items() if each.verdict == "unsure"}
    assert unknown == {"pods", "NetworkPolicy"}, findings
    assert not [each for each in findings.values() if each.verdict == "problem"], findings
    assert findings["nodes"].found == "1 with pool=trainings"
    assert not [path for path in (tmp_path / "storage").rglob("*") if path.is_file()], "nothing is left"
    assert not cluster.things, "nothing was created"


@pytest.mark.parametrize(
    ("changes", "what", "says"),
    [
        ({"namespace": "nowhere"}, "namespace", "nowhere is not there. Make it, or correct `namespace`"),
        ({"namespace": "nowhere"}, "right to jobs", "Give the Role of docs/kubernetes.md"),
        ({"service_account": "nobody"}, "ServiceAccount", "correct `service_account`"),
        ({"secrets": ["mlflow-login", "other"]}, "Secret", "other is not there"),
        ({"storage": "file:///proc/nowhere"}, "storage", "correct `storage`"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(
    found: Callable[..., Any], changes: dict[str, Any], what: str, says: str
) -> None:
    finding = found(**changes)[what]

    assert (finding.verdict, says in str(finding)) == ("problem", True), finding


@pytest.mark.parametrize("denied", [{("patch", "jobs")}, {(verb, each) for _, each, verbs in RIGHTS for verb in verbs}])
def test_each_verb_of_the_role_is_asked_for(
    found: Callable[..., Any], cluster: KubernetesApi, denied: set[tuple[str, str]]
) -> None:
    cluster.looks.denied = denied

    findings = found()

    problems = {name: each.found for name, each in findings.items() if each.verdict == "problem"}
    missing = {each: [verb for verb in verbs if (verb, each) in denied] for _, each, verbs in RIGHTS}
    assert problems == {f"right to {each}": f"may not {', '.join(verbs)}." for each, verbs in missing.items() if verbs}


def test_the_role_of_the_docs_is_what_is_asked_for() -> None:
    (block,) = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.S)
    rules = yaml.safe_load(block)["rules"]

    said = {(rule["apiGroups"][0], each, tuple(rule["verbs"])) for rule in rules for each in rule["resources"]}
    assert said == {*RIGHTS}


def test_what_may_not_be_looked_at_is_unknown_and_not_wrong(found: Callable[..., Any], cluster: KubernetesApi) -> None:
    cluster.looks.may_look = False

    findings = found()

    unknown = {name for name, each in findings.items() if each.verdict == "unsure"}
    assert unknown == {"namespace", "ServiceAccount", "Secret", "nodes", "pods", "NetworkPolicy"}
    assert not [each for each in findings.values() if each.verdict == "problem"], findings


def test_no_node_is_right_where_an_autoscaler_makes_them(found: Callable[..., Any], cluster: KubernetesApi) -> None:
    cluster.looks.nodes = [{"pool": "others"}]

    assert (found()["nodes"].verdict, "autoscaler" in str(found()["nodes"])) == ("unsure", True)


def test_wrong_credentials_end_the_look_at_the_cluster(found: Callable[..., Any], cluster: KubernetesApi) -> None:
    cluster.token = "another"  # noqa: S105

    findings = found()

    assert "renew those of the kubeconfig" in str(findings["cluster"])
    assert findings["all else of the cluster"].verdict == "unsure"
    assert findings["storage"].verdict == "ok", "what is reached without the cluster is looked at all the same"


def test_a_cluster_that_is_away_or_silent_says_so_within_seconds(
    found: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.platforms.kubernetes_check.QUICK", (0.2, 0.2))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (1, silent.getsockname()[1]):
            config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
            config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
            (tmp_path / "elsewhere").write_text(yaml.safe_dump(config))

            finding = found(kubeconfig=str(tmp_path / "elsewhere"))["cluster"]

            assert (finding.verdict, "does not answer" in str(finding)) == ("problem", True), finding


def test_a_storage_that_is_silent_is_not_waited_for(found: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.platforms.touching.PATIENCE", 3.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        uri = f"s3://bucket/trainings?endpoint_override={place}&scheme=http&region=eu-central-1"

        finding = found(storage=uri)["storage"]

    assert (finding.verdict, "no answer within 3 s" in finding.found) == ("problem", True), finding


def test_without_a_kubeconfig_it_is_described_and_the_check_says_what_to_set(
    found: Callable[..., Any], tmp_path: Path
) -> None:
    assert "Set `kubeconfig`" in str(found(kubeconfig=str(tmp_path / "none"))["cluster"])


@pytest.mark.parametrize(
    ("accelerator", "is_spot", "aspect", "said"),
    [
        ("cpu", True, "operator", "TrainModelOperator: Job, NetworkPolicy in the namespace evergreen"),
        ("cpu", True, "resource", "1 pod: 1 CPU, 4Gi memory"),
        ("cuda", True, "resource",
         "1 pod: 4 CPU, 16Gi memory, 1 nvidia.com/gpu; nodes of karpenter.k8s.aws/instance-gpu-name=l4"),
        ("cuda_two_nodes", False, "operator",
         "TrainModelOperator: Job, NetworkPolicy, Service in the namespace evergreen"),
        ("cuda_two_nodes", False, "resource", "2 pods, each: 4 CPU, 16Gi memory, 1 nvidia.com/gpu"),
        ("cpu", True, "network",
         "DNS:53, 10.0.0.0/8:443, 10.0.0.0/8:5000, 169.254.170.23/32:80; else only its own pods"),
        ("cpu", True, "identity", "service account evergreen-training, user 10001, no token of the cluster"),
        ("cpu", True, "files", "s3://example-evergreen/trainings/rides/REQUEST"),
        ("cpu", True, "interruption", "nodes of karpenter.sh/capacity-type=spot"),
        ("cpu", False, "interruption", "on demand: nodes that are not spot"),
    ],
)  # fmt: skip
def test_the_shipped_example_is_described_as_what_would_be_sent(
    tmp_path: Path, accelerator: str, is_spot: bool, aspect: str, said: str
) -> None:
    settings = load_kubernetes_settings()

    outline = Kubernetes(settings).describe(order(tmp_path, accelerator, is_spot=is_spot))

    assert getattr(outline, aspect) == said


def test_what_a_cluster_cannot_run_is_refused(tmp_path: Path) -> None:
    settings = load_kubernetes_settings()
    there = settings.model_copy(update={"machines": {"cuda_two_nodes": settings.machines["tpu"]}})

    with pytest.raises(PlatformRefusedError, match="TPUs of one host"):
        Kubernetes(there).describe(order(tmp_path, "cuda_two_nodes"))
