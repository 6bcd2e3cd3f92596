"""This file is what a network is fed with: preprocessed rows on disk, read in blocks, shuffled by seed, cut for ranks.

The order of rows depends on seed and epoch alone: it is the same for a window in memory and on disk, for one process
and for many, and for a training that was interrupted.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

BLOCK_BYTES = 1 << 20
STEPS_PER_EPOCH = 100
BUFFER_BLOCKS = 64  # shuffled together; a window of no more is shuffled as a whole

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[Any]
Part = tuple[Matrix, Labels]


class Blocks(Protocol):
    """Preprocessed rows in blocks."""

    num_rows: int
    num_blocks: int

    def read(self, numbers: npt.NDArray[np.intp]) -> Part:
        """Return the rows of some blocks, in the order of the numbers."""


class InMemory:
    """Rows that are in memory as they are."""

    def __init__(self, matrix: Matrix, labels: Labels) -> None:
        self.num_rows = len(matrix)
        self._size = rows_per_block(matrix.shape[1])
        self.num_blocks = -(-self.num_rows // self._size)
        self._part = (matrix, labels)

    def read(self, numbers: npt.NDArray[np.intp]) -> Part:
        """Return the rows of some blocks."""
        places = [np.arange(each * self._size, min((each + 1) * self._size, self.num_rows)) for each in numbers]
        chosen = np.concatenate(places)
        matrix, labels = self._part
        return matrix[chosen], labels[chosen]


class OnDisk:
    """Rows in an Arrow file that `write` made; only what is asked for is read."""

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path))
        self._reader = pa.ipc.open_file(self._file)
        self.num_blocks = self._reader.num_record_batches
        self.num_rows = int(self._reader.schema.metadata[b"rows"])

    def read(self, numbers: npt.NDArray[np.intp]) -> Part:
        """Return the rows of some blocks."""
        parts = [_part(self._reader.get_batch(int(number))) for number in numbers]
        matrices, labels = zip(*parts, strict=True)
        return np.concatenate(matrices), np.concatenate(labels)


def write(path: Path, parts: Iterator[Part], num_rows: int) -> None:
    """Write preprocessed rows as an Arrow file of blocks of about a megabyte."""
    writer: pa.RecordBatchFileWriter | None = None
    size, left = 0, None
    with pa.OSFile(str(path), "wb") as file:
        for part in parts:
            batch = _batch(part) if left is None else pa.concat_batches([left, _batch(part)])
            if writer is None:
                size = rows_per_block(part[0].shape[1])
                writer = pa.ipc.new_file(file, batch.schema.with_metadata({"rows": str(num_rows)}))
            whole = len(batch) // size * size
            for start in range(0, whole, size):
                writer.write_batch(batch.slice(start, size))
            left = batch.slice(whole)
        if writer and left is not None and len(left):
            writer.write_batch(left)
        if writer:
            writer.close()


@dataclass(frozen=True)
class Batch:
    """One step's rows of one rank."""

    matrix: Matrix
    labels: Labels
    weight: float  # its mean loss times this, averaged over ranks, is the mean over the whole batch


@dataclass(frozen=True)
class Stream:
    """Batches of shuffled rows, epoch after epoch.

    :param batch_size: rows of a step, of all ranks together; an epoch's last step has what is left.
    """

    blocks: Blocks
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of steps; a last one with fewer rows than ranks is left out."""
        whole, left = divmod(self.blocks.num_rows, self.batch_size)
        return whole + (left >= self.world)

    def batches(self, epochs: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield this rank's part of every step from one on, while the next rows are being read."""
        first_epoch, skipped = divmod(first_step, self.steps_per_epoch)
        for epoch, part in _ahead(self._parts(first_epoch, epochs)):
            done = skipped if epoch == first_epoch else 0
            start, matrix, labels = part
            number = start // self.batch_size
            for place in range(0, len(matrix), self.batch_size):
                size = min(self.batch_size, len(matrix) - place)
                if number >= done and size >= self.world:
                    yield self._mine(matrix[place : place + size], labels[place : place + size])
                number += 1

    def _mine(self, matrix: Matrix, labels: Labels) -> Batch:
        first, last = (len(matrix) * rank // self.world for rank in (self.rank, self.rank + 1))
        return Batch(matrix[first:last], labels[first:last], (last - first) * self.world / len(matrix))

    def _parts(self, first_epoch: int, epochs: int) -> Iterator[tuple[int, tuple[int, Matrix, Labels]]]:
        """Yield shuffled rows of several blocks; all but an epoch's last hold whole batches only."""
        for epoch in range(first_epoch, epochs):
            order = np.random.default_rng((self.seed, epoch)).permutation(self.blocks.num_blocks)
            groups = [order[place : place + BUFFER_BLOCKS] for place in range(0, len(order), BUFFER_BLOCKS)]
            start, left = 0, None
            for number, group in enumerate(groups):
                matrix, labels = self.blocks.read(group)
                shuffled = np.random.default_rng((self.seed, epoch, number)).permutation(len(matrix))
                matrix, labels = matrix[shuffled], labels[shuffled]
                if left is not None:
                    matrix, labels = np.concatenate([left[0], matrix]), np.concatenate([left[1], labels])
                is_last = number == len(groups) - 1
                whole = len(matrix) if is_last else len(matrix) // self.batch_size * self.batch_size
                yield epoch, (start, matrix[:whole], labels[:whole])
                left, start = (matrix[whole:], labels[whole:]), start + whole


def rows_per_block(width: int) -> int:
    """Return how many rows of so many numbers make a block of about a megabyte."""
    return max(32, min(8192, BLOCK_BYTES // (4 * width + 8)))


def fitting_batch(num_rows: int) -> int:
    """Return the power of two from 32 to 1024 with which an epoch over so many rows has about 100 steps.

    A model that takes two steps an epoch has learned next to nothing by the end, and nobody would be told.
    """
    return 2 ** min(10, max(5, round(math.log2(max(1, num_rows) / STEPS_PER_EPOCH))))


def _ahead(found: Iterator[Any]) -> Iterator[Any]:
    """Yield what an iterator yields, which makes the next one meanwhile in a thread: NumPy and Arrow let others run."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
        upcoming = pool.submit(next, found, None)
        while (current := upcoming.result()) is not None:
            upcoming = pool.submit(next, found, None)
            yield current


def _batch(part: Part) -> pa.RecordBatch:
    matrix, labels = part
    flat = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
    return pa.record_batch({"matrix": flat, "label": pa.array(labels)})


def _part(batch: pa.RecordBatch) -> Part:
    matrix = batch["matrix"]
    return matrix.flatten().to_numpy().reshape(len(matrix), -1), batch["label"].to_numpy()
