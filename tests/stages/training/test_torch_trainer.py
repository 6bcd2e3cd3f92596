import logging

import numpy as np
import pytest
import torch
from torch import nn

from include.errors import TrainingFailedError
from include.evaluation import quality
from include.recipe import Features, Training
from include.training.curves import Curves
from include.training.heads import BinaryHead
from include.training.layout import Layout, Parts
from include.training.models import Mlp, tabular_mlp
from include.training.stream import InMemory, Stream
from include.training.torch_trainer import Trainer, make_deterministic

TRAINING = Training(
    target="late", features=Features(numeric=["x"]), epochs=3, batch_size=64, hidden=[8], learning_rate=0.02
)
HEAD = BinaryHead()


def example(size: int = 500) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    numbers, codes = random.standard_normal((size, 2)), random.integers(-1, 3, (size, 1))
    labels = numbers[:, 0] + (codes[:, 0] == 1) + random.standard_normal(size) / 2 > 0.5
    return np.hstack([numbers, codes]).astype(np.float32), labels.astype(np.float32)


def network(base_rate: float, training: Training = TRAINING) -> Mlp:
    return tabular_mlp(Layout(2, (3,)), training, HEAD.start(np.array([base_rate])))


def stream(matrix: np.ndarray, labels: np.ndarray, training: Training = TRAINING) -> Stream:
    return Stream(InMemory(matrix, labels), training.batch_size or 32, training.seed)


def fit(training: Training = TRAINING) -> tuple[Trainer, Curves]:
    make_deterministic(training.seed)
    trainer = Trainer(network(0.4, training), HEAD, training)
    holdout = example(200)
    return trainer, trainer.fit(
        stream(*example(), training), holdout, lambda found: {"auc": quality("auc", holdout[1], found)}
    )


def test_the_same_seed_gives_the_same_losses_to_the_last_bit() -> None:
    (first, once), (second, again) = fit(), fit()

    assert once.loss == again.loss
    assert once.holdout_loss == again.holdout_loss
    np.testing.assert_array_equal(first.predict(example()[0]), second.predict(example()[0]))


def test_another_seed_gives_other_losses() -> None:
    assert fit()[1].loss != fit(TRAINING.model_copy(update={"seed": 8}))[1].loss


def test_it_learns() -> None:
    _, curves = fit()

    assert curves.loss[-1] < curves.loss[0]
    assert curves.as_dict()["holdout_auc"][-1] > 0.85


def test_the_first_answer_is_the_base_rate() -> None:
    np.testing.assert_allclose(Trainer(network(0.3), HEAD, TRAINING).predict(example()[0]), 0.3, atol=1e-6)


def test_each_epoch_is_told_with_loss_and_speed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fit()

    assert len(caplog.messages) == 3
    assert caplog.messages[0].startswith("Epoch 1/3: loss 0.")
    assert "rows/s on " in caplog.messages[0]


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    make_deterministic(1)
    matrix, labels = example()
    matrix[3, 0] = np.nan

    with pytest.raises(TrainingFailedError, match="loss was nan in epoch 1"):
        Trainer(network(0.4), HEAD, TRAINING).fit(stream(matrix, labels), (matrix, labels))


class Fickle(nn.Module):
    """A user's encoder, whose operators depend on the values it sees."""

    width = 1

    def forward(self, parts: Parts) -> torch.Tensor:
        first = parts.numbers[:, :1]
        return first * 2 if first.sum() >= 0 else first


def test_a_branch_in_a_users_part_of_a_network_is_an_error_and_not_half_a_model() -> None:
    made_of_both = Mlp(Layout(2, (3,)), [Fickle()], TRAINING, HEAD.start(np.array([0.4])))

    with pytest.raises(torch.onnx.OnnxExporterError):
        Trainer(made_of_both, HEAD, TRAINING).graph(width=3)
