import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from include.training.checkpoint import Checkpoint, Checkpoints

ARRAYS = {"model/weight": np.arange(6, dtype=np.float32).reshape(2, 3), "random/0/cpu": np.arange(9, dtype=np.uint8)}


def at(folder: Path | str, recipe: str = "one", every: float = 60) -> Checkpoints:
    return Checkpoints(str(folder), recipe, every)


def found(where: Checkpoints) -> Checkpoint:
    checkpoint = where.newest()
    assert checkpoint is not None
    return checkpoint


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in folder.iterdir())


def test_what_was_saved_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    at(tmp_path).save(12, ARRAYS, {"curves": {"loss": [0.1, 0.2]}})

    checkpoint = found(at(tmp_path))

    assert checkpoint.step == 12
    assert checkpoint.state == {"curves": {"loss": [0.1, 0.2]}}
    np.testing.assert_array_equal(checkpoint.under("model")["weight"], ARRAYS["model/weight"])
    assert checkpoint.under("random/0")["cpu"].dtype == np.uint8


def test_the_newest_counts_and_old_ones_go(tmp_path: Path) -> None:
    where = at(tmp_path)
    for step in (900, 1000, 10_000):
        where.save(step, ARRAYS, {})

    assert found(at(tmp_path)).step == 10_000
    assert steps_in(tmp_path) == ["step-000001000", "step-000010000"]


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "other"])
def test_a_broken_one_is_passed_over_with_a_warning(tmp_path: Path, harm: str, caplog: Any) -> None:
    where = at(tmp_path)
    where.save(1, ARRAYS, {})
    where.save(2, ARRAYS, {})
    (newest,) = tmp_path.glob("step-000000002.*.npz")
    content = bytearray(newest.read_bytes())
    content[content.index(ARRAYS["model/weight"].tobytes()) + 3] ^= 1
    newest.write_bytes({"cut": content[:-50], "flipped": content, "empty": b"", "other": b"not an archive"}[harm])

    with caplog.at_level(logging.WARNING):
        assert found(at(tmp_path)).step == 1
    assert f"{newest.name} is broken" in caplog.text


def test_another_training_s_state_is_not_taken(tmp_path: Path, caplog: Any) -> None:
    at(tmp_path).save(5, ARRAYS, {})

    assert at(tmp_path, recipe="other").newest() is None
    assert "another recipe's: not used" in caplog.text


def test_another_training_s_newer_states_do_not_push_out_the_first_ones_of_this(tmp_path: Path) -> None:
    for step in (8500, 9000):
        at(tmp_path, recipe="diverged").save(step, ARRAYS, {})
    where = at(tmp_path)

    for step in (100, 200, 300):
        where.save(step, ARRAYS, {})
        assert found(at(tmp_path)).step == step

    assert found(at(tmp_path, recipe="diverged")).step == 9000  # whoever takes the change back goes on there
    assert steps_in(tmp_path) == ["step-000000200", "step-000000300", "step-000008500", "step-000009000"]


def test_none_is_found_where_none_is(tmp_path: Path) -> None:
    assert at(tmp_path / "missing").newest() is None


def test_one_is_due_after_so_many_seconds(tmp_path: Path) -> None:
    where = at(tmp_path, every=0.0)

    assert where.is_due()
    assert not at(tmp_path).is_due()


def test_any_uri_of_fsspec_will_do() -> None:
    at("memory://checkpoints/one").save(3, ARRAYS, {})

    assert found(at("memory://checkpoints/one")).step == 3


def test_pickles_are_not_read(tmp_path: Path, caplog: Any) -> None:
    where = at(tmp_path)
    where.save(1, ARRAYS, {})
    (own,) = tmp_path.iterdir()
    newer = own.with_name(own.name.replace("1", "2", 1))
    np.savez(newer, model=np.array([{"a": 1}], dtype=object), allow_pickle=True)

    assert found(at(tmp_path)).step == 1
    assert "Object arrays cannot be loaded" in caplog.text
