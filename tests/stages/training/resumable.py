"""A small training in a process of its own, which test_resume.py kills: python -m … FRAMEWORK FOLDER STEP HOW.

It prints the fingerprint of the weights that it ends with.
"""

import hashlib
import os
import signal
import sys

import numpy as np

from include.errors import TrainingInterruptedError
from include.learning.binary import Binary
from include.recipe import Features, Training
from include.training.checkpoint import Checkpoints
from include.training.frameworks import framework
from include.training.layout import Layout
from include.training.notice import Notice
from include.training.stream import InMemory, Stream

ROWS = 1000


class Death(Notice):
    """Kills its process when it was asked so often whether it is to end."""

    def __init__(self, step: int, how: str) -> None:
        super().__init__()
        self.left, self.how = step, how

    def __bool__(self) -> bool:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "term": signal.SIGTERM}[self.how])
        return super().__bool__()


def main(name: str, folder: str, step: int, how: str) -> None:
    random = np.random.default_rng(0)
    matrix = np.hstack([random.standard_normal((ROWS, 2)), random.integers(-1, 3, (ROWS, 1))]).astype(np.float32)
    labels = (matrix[:, 0] + random.standard_normal(ROWS) > 0).astype(np.float32)
    training = Training(
        target="late", features=Features(numeric=["a", "b"], categorical=["c"]), framework=name, epochs=3, dropout=0.3,
        hidden=[16], learning_rate=0.01,
    )  # fmt: skip
    trains = framework(name)
    trains.make_deterministic(training.seed)
    with trains.process_group() as (rank, world):
        trainer = trains.build(training, Layout(2, (3,)), Binary(), labels)
        stream = Stream(InMemory(matrix, labels), 64, training.seed, rank, world)  # 16 steps an epoch
        # Every step is saved, or few are: what was not saved is done again.
        checkpoints = Checkpoints(folder, "one", 0.0 if step % 2 else 0.05)
        try:
            trainer.fit(stream, (matrix[:100], labels[:100]), checkpoints=checkpoints, notice=Death(step, how))
        except TrainingInterruptedError:
            sys.exit(75)
        if rank == 0:
            told = hashlib.sha256(trainer.predict(matrix).tobytes())
            for weights in trainer.weights():
                told.update(np.ascontiguousarray(weights).tobytes())
            print(f"weights: {told.hexdigest()}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
