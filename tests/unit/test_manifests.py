"""What a training is on a cluster, by accelerator; the official schemas take all of it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.accelerators import accelerator_named, accelerators
from include.errors import PlatformRefusedError
from include.platforms.base import Order
from include.platforms.kubernetes_settings import KubernetesSettings, load_kubernetes_settings
from include.platforms.manifests import belongings_of, cluster_name, job_of
from include.recipe import Features, Training
from include.training.environment import find_spec
from include.training.spec import Spec
from tests.cloud.kubernetes_api import problem_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URI = "s3://bucket/rides/one/abc"
FLAVOURS = ("eks", "aks", "gke")


@pytest.fixture(scope="module")
def settings() -> KubernetesSettings:
    """The shipped ones."""
    return load_kubernetes_settings()


@pytest.fixture
def order() -> Callable[..., Order]:
    def make(accelerator: str = "cpu", *, is_spot: bool = False, num_features: int = 1, **training: Any) -> Order:
        asked = Training(
            target="late",
            features=Features(numeric=[f"$(HOME) number {number}" for number in range(num_features)]),
            accelerator=accelerator,
            **training,
        )
        spec = Spec(
            pipeline="rides",
            request_id="rides.2026-01-01T00:00",
            reason="a test",
            key="ride_id",
            date="day",
            snapshot_id="7",
            train_days=("2025-01-01", "2025-02-01"),
            holdout_days=("2025-02-02", "2025-02-03"),
            training=asked,
            sample_rows=10,
            folder=Path("/data/models/rides/one"),
            accelerator=accelerator_named(accelerator),
        )
        return Order("rides-one-1", spec, NOW + timedelta(hours=2), is_spot=is_spot)

    return make


def pod_of(job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container, {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize("is_spot", [False, True])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("accelerator", accelerators())
def test_the_schemas_take_all_that_is_made(
    accelerator: str, flavour: str, is_spot: bool, order: Callable[..., Order], settings: KubernetesSettings
) -> None:
    there = settings.model_copy(update={"flavour": flavour, "priority_class": "trainings", "secrets": ["login"]})
    for num_features in (1, 4000):
        asked = order(accelerator, is_spot=is_spot, num_features=num_features)
        for manifest in (job_of(asked, there, URI, NOW), *belongings_of(asked, there, "an-uid")):
            assert problem_of(manifest) is None


def test_a_job_ends_with_its_lease_and_is_never_tried_again_by_itself(
    order: Callable[..., Order], settings: KubernetesSettings
) -> None:
    job = job_of(order(), settings, URI, NOW)

    assert job["spec"]["activeDeadlineSeconds"] == 7200
    assert (job["spec"]["backoffLimit"], job["spec"]["suspend"]) == (0, True)
    assert job["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "evergreen"
    assert job["metadata"]["annotations"]["evergreen/lease-until"] == "2026-01-01T02:00:00+00:00"


def test_a_pod_may_do_little(order: Callable[..., Order], settings: KubernetesSettings) -> None:
    pod, container, _ = pod_of(job_of(order(), settings, URI, NOW))

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}} in pod["volumes"]


@pytest.mark.parametrize(
    ("accelerator", "devices", "taint"),
    [
        ("cpu", {}, None),
        ("cuda", {"nvidia.com/gpu": "1"}, "nvidia.com/gpu"),
        ("mig", {"nvidia.com/mig-1g.10gb": "1"}, "nvidia.com/gpu"),
        ("tpu", {"google.com/tpu": "4"}, "google.com/tpu"),
    ],
)
def test_devices_are_asked_for_and_their_nodes_taints_tolerated(
    accelerator: str,
    devices: dict[str, str],
    taint: str | None,
    order: Callable[..., Order],
    settings: KubernetesSettings,
) -> None:
    pod, container, _ = pod_of(job_of(order(accelerator), settings, URI, NOW))

    assert {name: n for name, n in container["resources"]["limits"].items() if name != "memory"} == devices
    assert [each["key"] for each in pod["tolerations"]] == ([taint] if taint else [])
    assert pod["nodeSelector"] == settings.machines[accelerator].node_selector
    if accelerator == "tpu":
        assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "2x2"


@pytest.mark.parametrize(
    ("flavour", "label", "value"),
    [
        ("eks", "karpenter.sh/capacity-type", "spot"),
        ("aks", "kubernetes.azure.com/scalesetpriority", "spot"),
        ("gke", "cloud.google.com/gke-spot", "true"),
    ],
)
def test_spot_is_asked_for_or_kept_away_from(
    flavour: str, label: str, value: str, order: Callable[..., Order], settings: KubernetesSettings
) -> None:
    there = settings.model_copy(update={"flavour": flavour})
    spot, _, _ = pod_of(job_of(order("cuda", is_spot=True), there, URI, NOW))
    other, _, _ = pod_of(job_of(order("cuda"), there, URI, NOW))

    assert spot["nodeSelector"][label] == value
    assert {"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"} in spot["tolerations"]
    assert label not in other["nodeSelector"]
    assert [each["key"] for each in other["tolerations"]] == ["nvidia.com/gpu"]
    assert json.dumps(other["affinity"]).count(label) == 1


def test_several_machines_find_each_other_by_name(order: Callable[..., Order], settings: KubernetesSettings) -> None:
    asked = order("cuda_two_nodes")
    job, (wall, service) = job_of(asked, settings, URI, NOW), belongings_of(asked, settings, "an-uid")
    pod, _, env = pod_of(job)

    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["completionMode"]) == (2, 2, "Indexed")
    assert pod["subdomain"] == service["metadata"]["name"] == "rides-one-1"
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert (env["EVERGREEN_NODES"], env["EVERGREEN_MEETING"]) == ("2", "rides-one-1-0.rides-one-1:29500")
    assert {"to": [{"podSelector": {"matchLabels": service["spec"]["selector"]}}]} in wall["spec"]["egress"]


def test_each_of_keras_machines_is_told_its_place(order: Callable[..., Order], settings: KubernetesSettings) -> None:
    _, container, env = pod_of(job_of(order("cuda_two_nodes", framework="keras"), settings, URI, NOW))

    told = json.loads(env["TF_CONFIG"].replace("$(EVERGREEN_NODE)", "1"))
    assert told == {
        "cluster": {"worker": ["rides-one-1-0.rides-one-1:2222", "rides-one-1-1.rides-one-1:2222"]},
        "task": {"type": "worker", "index": 1},
    }
    names = [each["name"] for each in container["env"]]
    assert names.index("EVERGREEN_NODE") < names.index("TF_CONFIG"), "Kubernetes puts in what came before"


def test_tpus_of_several_hosts_are_refused(order: Callable[..., Order], settings: KubernetesSettings) -> None:
    asked = order("tpu")
    several = asked.spec.accelerator.model_copy(update={"nodes": 2})
    asked = Order(asked.name, asked.spec.model_copy(update={"accelerator": several}), asked.lease_until)

    with pytest.raises(PlatformRefusedError, match="one host"):
        job_of(asked, settings, URI, NOW)


def test_nothing_but_storage_tracking_and_names_can_be_reached(
    order: Callable[..., Order], settings: KubernetesSettings
) -> None:
    (wall,) = belongings_of(order(), settings, "an-uid")

    assert wall["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ports = [port["port"] for rule in wall["spec"]["egress"] for port in rule.get("ports", [])]
    assert sorted(ports) == [53, 53, 80, 443, 5000]  # 80: of EKS' agent for identities
    assert all("to" in rule for rule in wall["spec"]["egress"][1:])
    assert wall["metadata"]["ownerReferences"][0]["uid"] == "an-uid"


def test_the_spec_arrives_as_it_was_also_a_large_one(
    order: Callable[..., Order], settings: KubernetesSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, env = pod_of(job_of(order(), settings, URI, NOW))
    assert "$(HOME)" not in env["EVERGREEN_SPEC"].replace("$$(HOME)", "")
    monkeypatch.setenv("EVERGREEN_SPEC", env["EVERGREEN_SPEC"].replace("$$", "$"))  # as Kubernetes does
    assert find_spec([]) == order().spec

    large = order(num_features=4000)
    _, container, env = pod_of(job_of(large, settings, URI, NOW))
    config = belongings_of(large, settings, "an-uid")[-1]
    assert "EVERGREEN_SPEC" not in env
    assert container["command"][-1] == "/etc/evergreen/spec.json"
    assert Spec.model_validate_json(config["data"]["spec.json"]) == large.spec


@pytest.mark.parametrize("name", ["rides-one-1", "flight_delays.Scheduled__2026-01-01", "1", "a" * 80, "-", "a-"])
def test_names_are_such_as_a_cluster_takes(name: str) -> None:
    found = cluster_name(name)

    assert len(found) <= 52
    assert found[0].isalpha()
    assert found.replace("-", "").isalnum()
    assert not found.endswith("-")
    assert found == cluster_name(name) != cluster_name(f"{name}x")
