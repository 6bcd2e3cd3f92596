"""What `evergreen plan --check` finds of this machine, with the frameworks as they are."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.accelerators import Accelerator
from include.errors import PlatformRefusedError
from include.finding import Finding
from include.platforms.base import Order
from include.platforms.local import Local
from include.training.spec import Spec


@pytest.fixture
def order(make_spec: Callable[..., Spec]) -> Callable[..., Order]:
    def make(**accelerator: Any) -> Order:
        spec = make_spec().model_copy(update={"accelerator": Accelerator(**accelerator)})
        return Order("rides-1", spec, datetime.now(UTC) + timedelta(hours=2))

    return make


def found(order: Order) -> dict[str, Finding]:
    return {each.what: each for each in Local().check(order)}


def test_a_machine_that_has_it_all_is_found_so(order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.platforms.local_plan.FEWEST_GB", 0.0)
    asked = order(memory_gb=0.5)

    findings = found(asked)

    assert {each: finding.verdict for each, finding in findings.items()} == dict.fromkeys(
        ("cores", "memory", "models' folder"), "ok"
    )
    assert not asked.spec.folder.parent.exists(), "a look makes no folder"


def test_more_than_there_is_is_told(order: Callable[..., Order]) -> None:
    findings = found(order(memory_gb=1e6, processes=os.cpu_count(), threads=2))

    assert (findings["memory"].verdict, findings["cores"].verdict) == ("problem", "unsure"), findings
    assert "memory_gb" in findings["memory"].remedy


def test_devices_that_the_framework_does_not_find_are_a_problem(
    order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    finding = found(order(device="cuda", processes=2))["devices"]

    assert (finding.verdict, "torch finds 0 of 2 (cuda)" in finding.found) == ("problem", True), finding


def test_several_machines_are_refused(order: Callable[..., Order]) -> None:
    with pytest.raises(PlatformRefusedError, match="asks for 2: name another profile"):
        Local().describe(order(nodes=2))
