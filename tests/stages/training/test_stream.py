from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.training import stream
from include.training.stream import Batch, InMemory, OnDisk, Stream, fitting_batch


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "rows_per_block", lambda _width: 10)
    monkeypatch.setattr(stream, "BUFFER_BLOCKS", 3)


def example(size: int = 257) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.arange(size * 2, dtype=np.float32).reshape(size, 2)
    return matrix, matrix[:, 0] * 10


def batches(of: Stream, epochs: int = 2, first_step: int = 0) -> list[Batch]:
    return list(of.batches(epochs, first_step))


def on_disk(folder: Path, parts: int = 4) -> OnDisk:
    matrix, labels = example()
    cut = zip(np.array_split(matrix, parts), np.array_split(labels, parts), strict=True)
    stream.write(folder / "rows.arrow", iter(cut), len(matrix))
    return OnDisk(folder / "rows.arrow")


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.matrix, b.matrix) and np.array_equal(a.labels, b.labels) and a.weight == b.weight
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("batch_size", [1, 16, 64, 257, 1000])
def test_every_epoch_has_every_row_once_with_its_label(batch_size: int) -> None:
    found = Stream(InMemory(*example()), batch_size, seed=7)

    epochs = np.array_split(np.arange(2 * found.steps_per_epoch), 2)
    for steps in epochs:
        parts = [batches(found)[step] for step in steps] if batch_size > 16 else batches(found)[: len(steps)]
        rows = np.concatenate([part.matrix[:, 0] for part in parts])
        assert sorted(rows) == sorted(example()[0][:, 0])
        assert all(np.array_equal(part.labels, part.matrix[:, 0] * 10) for part in parts)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first, second = np.array_split([part.matrix[0, 0] for part in batches(Stream(InMemory(*example()), 1, seed=7))], 2)
    (other,) = np.array_split([part.matrix[0, 0] for part in batches(Stream(InMemory(*example()), 1, seed=8), 1)], 1)

    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert np.mean(np.diff(first) == 2) < 0.1


@pytest.mark.parametrize("parts", [1, 4, 100])
def test_a_window_on_disk_gives_what_one_in_memory_does(tmp_path: Path, parts: int) -> None:
    assert same(
        batches(Stream(on_disk(tmp_path, parts), 16, seed=7)), batches(Stream(InMemory(*example()), 16, seed=7))
    )


@given(first_step=st.integers(0, 33), batch_size=st.sampled_from([8, 16, 50]))
def test_going_on_at_a_step_gives_what_was_left(first_step: int, batch_size: int) -> None:
    whole = Stream(InMemory(*example()), batch_size, seed=7)

    assert same(batches(whole, 2, first_step), batches(whole)[first_step:])


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_each_batch_and_weigh_as_one(world: int) -> None:
    ranks = [batches(Stream(InMemory(*example()), 16, 7, rank, world)) for rank in range(world)]
    alone = batches(Stream(InMemory(*example()), 16, 7))

    for parts, batch in zip(
        zip(*ranks, strict=True), [each for each in alone if len(each.labels) >= world], strict=True
    ):
        together = np.concatenate([part.matrix for part in parts])
        assert np.array_equal(together, batch.matrix)
        mean = np.mean([part.labels.mean() * part.weight for part in parts])
        assert mean == pytest.approx(batch.labels.mean(), rel=1e-5)


def test_a_last_step_with_fewer_rows_than_ranks_is_left_out() -> None:
    ranks = [Stream(InMemory(*example()), 16, 7, rank, 2) for rank in range(2)]  # 257 = 16 * 16 + 1

    assert {each.steps_per_epoch for each in ranks} == {16}
    assert [len(batches(each)) for each in ranks] == [32, 32]
    assert Counter(len(part.labels) for part in batches(ranks[0])) == {8: 32}


@pytest.mark.parametrize(("rows", "batch"), [(1, 32), (1200, 32), (6400, 64), (40_000, 512), (10_000_000, 1024)])
def test_batches_fit_the_rows_unless_the_yaml_says_otherwise(rows: int, batch: int) -> None:
    assert fitting_batch(rows) == batch
