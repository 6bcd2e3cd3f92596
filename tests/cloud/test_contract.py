"""What every platform has to do, each behaviour a test by name: one that lacks it fails here, not in production."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include import artefact
from include.platforms import PLATFORMS
from include.platforms.base import Job, Order, Status
from include.training.spec import Spec
from tests.cloud.conftest import spec_of
from tests.cloud.places import PLACES, Place, wait_for

SLOW = {"epochs": 200, "checkpoint_seconds": 0.1}


def test_every_platform_is_held_to_the_contract() -> None:
    assert set(PLACES) == set(PLATFORMS), "add a class and a line to tests/cloud/places.py"


@pytest.fixture(scope="module", params=PLACES)
def place(installation: Path, request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param](request.getfixturevalue)


@dataclass(frozen=True)
class Finished:
    """A training that went well, seen from its submission to its end."""

    spec: Spec
    jobs: list[Job]  # what each of those who asked was given
    lines: list[str]
    status: Status


@pytest.fixture(scope="module")
def finished(place: Place, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    spec = spec_of(tmp_path_factory.mktemp("models"), rows, "rides.first.finished")
    asked = order(spec, f"evergreen-finished-{place.name}")
    with ThreadPoolExecutor() as pool:
        jobs = list(pool.map(lambda _: place.platform().submit(asked), range(2)))
    jobs.append(place.platform().submit(asked))
    lines = list(place.platform().follow(jobs[0]))
    return Finished(spec, jobs, lines, place.platform().status(jobs[0]))


def order(spec: Spec, name: str, *, seconds: float = 600, is_spot: bool = False) -> Order:
    return Order(name, spec, datetime.now(UTC) + timedelta(seconds=seconds), is_spot)


def test_who_asks_again_is_given_the_same_job(place: Place, finished: Finished) -> None:
    assert finished.jobs == [finished.jobs[0]] * 3
    assert place.platform().submit(order(finished.spec, finished.jobs[0].name)) == finished.jobs[0], "also afterwards"


def test_who_comes_later_sees_the_whole_output_to_its_end(place: Place, finished: Finished) -> None:
    assert any("Learn from" in line for line in finished.lines), finished.lines
    assert any(line.startswith("Model ") for line in finished.lines)
    assert {line for line in finished.lines if "Learn" in line} <= {*place.platform().follow(finished.jobs[0])}


def test_a_person_is_told_where_its_output_grows(place: Place, finished: Finished) -> None:
    told = place.platform().where(finished.jobs[0])

    assert finished.jobs[0].name in told or finished.spec.request_id in told


def test_it_says_that_it_went_well_and_what_is_paid_for(finished: Finished) -> None:
    assert finished.status.state == "succeeded", (finished.status, finished.lines)
    assert finished.status.seconds is not None
    assert finished.status.seconds > 0


def test_the_model_comes_home_once_and_is_byte_identical_to_the_local_one(
    place: Place, finished: Finished, weights: dict[str, str]
) -> None:
    place.platform().collect(finished.jobs[0], finished.spec)
    place.platform().collect(finished.jobs[0], finished.spec)  # a try that was killed right after

    manifest = artefact.read_manifest(finished.spec.folder)
    artefact.load_session(finished.spec.folder, manifest["sha256"])
    assert manifest["request_id"] == finished.spec.request_id
    assert not list(finished.spec.folder.parent.glob(".collect*"))
    weights[place.name] = manifest["sha256"]
    assert len({*weights.values()}) == 1, f"the same spec gives the same weights, wherever it is trained: {weights}"


@pytest.fixture(scope="session")
def weights() -> dict[str, str]:
    """The sha256 of the graph that each platform has made of the same spec."""
    return {}


def test_a_job_is_found_by_its_lease_and_stopped(place: Place, make_spec: Callable[..., Spec]) -> None:
    spec = make_spec("rides.first.stopped", **SLOW)
    asked = order(spec, f"evergreen-stopped-{place.name}")
    job = place.platform().submit(asked)
    assert place.platform().status(job).state == "running"

    (leased,) = place.platform().leased()
    assert (leased.job.name, leased.pipeline) == (job.name, "rides")
    assert abs(leased.lease_until - asked.lease_until) < timedelta(seconds=2)

    place.platform().stop(leased.job)
    wait_for(lambda: place.platform().status(job).state != "running")
    assert place.platform().status(job).state in {"interrupted", "failed"}
    assert place.platform().leased() == []
    place.platform().stop(job)  # it has ended: none to complain about
    assert place.platform().submit(asked) == job, "a name is used once"


def test_what_nobody_knows_is_gone_and_stopped_without_complaint(place: Place) -> None:
    nobody = Job("evergreen-never-was-1")

    assert place.platform().status(nobody).state == "gone"
    place.platform().stop(nobody)
    place.platform().clean_up(nobody)


def test_refused_data_and_settings_are_told_from_failures(place: Place, make_spec: Callable[..., Spec]) -> None:
    job = place.platform().submit(
        order(make_spec("rides.first.refused", model="no.such:model"), f"evergreen-refused-{place.name}")
    )

    list(place.platform().follow(job))

    status = place.platform().status(job)
    assert (status.state, "no.such:model" in status.reason) == ("refused", True), status


def test_a_failure_says_why(place: Place, make_spec: Callable[..., Spec]) -> None:
    spec = make_spec("rides.first.failed", model="tests.cloud.breaking:explode")
    job = place.platform().submit(order(spec, f"evergreen-failed-{place.name}"))

    lines = list(place.platform().follow(job))

    status = place.platform().status(job)
    assert (status.state, "out of memory, or so" in status.reason) == ("failed", True), (status, lines)


def test_one_that_takes_too_long_is_stopped(place: Place, make_spec: Callable[..., Spec]) -> None:
    spec = make_spec("rides.first.late", **SLOW)
    job = place.platform().submit(order(spec, f"evergreen-late-{place.name}", seconds=1))

    list(place.platform().follow(job))

    status = place.platform().status(job)
    assert (status.state, "longer than its lease" in status.reason) == ("failed", True), status


def test_an_interrupted_one_goes_on_where_it_was(place: Place, make_spec: Callable[..., Spec]) -> None:
    spec = make_spec("rides.first.interrupted", **SLOW)
    first = place.platform().submit(order(spec, f"evergreen-interrupted-{place.name}-1", is_spot=True))
    wait_for(lambda: place.has_saved(first, spec))

    place.interrupt(first)

    list(place.platform().follow(first))
    assert place.platform().status(first).state == "interrupted"
    second = place.platform().submit(order(spec, f"evergreen-interrupted-{place.name}-2"))
    lines = list(place.platform().follow(second))
    assert any(line.startswith("Go on from step") for line in lines), lines
    place.platform().collect(second, spec)
    assert len(artefact.read_manifest(spec.folder)["losses"]) == SLOW["epochs"]


def test_nothing_is_left_that_nobody_needs(place: Place, finished: Finished) -> None:
    place.platform().clean_up(finished.jobs[0])

    wait_for(lambda: place.left(finished.jobs[0]) == [])
    place.platform().clean_up(finished.jobs[0])

    assert place.left(finished.jobs[0]) == []
