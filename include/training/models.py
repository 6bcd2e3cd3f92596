"""This file holds the networks that come with Evergreen, in PyTorch: functions that `training.model` can name."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from include.recipe import Training
from include.training.encoders import Categories, Pictures, Table, Texts
from include.training.layout import Layout


def tabular_mlp(layout: Layout, training: Training, start: Tensor) -> nn.Module:
    """Return embeddings for categories beside scaled numbers, then a plain multi-layer perceptron.

    :param start: the first outputs for any row, shape [outputs], so that no epoch is spent on learning those.
    """
    layout.expect_table("tabular_mlp")
    return mixed_mlp(layout, training, start)


def mixed_mlp(layout: Layout, training: Training, start: Tensor) -> nn.Module:
    """Return the same with texts as the mean of their words' embeddings, and pictures by a small convolutional net."""
    encoders: list[Table | Texts | Pictures] = []
    if layout.numeric or layout.categories:
        encoders.append(Table(layout, training.embedding_dim))
    if layout.texts:
        encoders.append(Texts(layout, training.hidden[0]))
    if layout.images:
        encoders.append(Pictures(layout))
    return Mlp(layout, encoders, training, start)


def wide(layout: Layout, training: Training, start: Tensor) -> nn.Module:  # noqa: ARG001 - as every model
    """Return a linear model: a weight per number, a bias per category. What a deeper one has to beat."""
    layout.expect_table("wide")
    return Wide(layout, start)


class Mlp(nn.Module):
    """Return outputs for each row of the matrix, shape [rows, outputs]."""

    def __init__(
        self, layout: Layout, encoders: list[Table | Texts | Pictures], training: Training, start: Tensor
    ) -> None:
        """Build the layers upon what the encoders make of a row."""
        super().__init__()
        self.layout = layout
        self.encoders = nn.ModuleList(encoders)
        widths = [sum(encoder.width for encoder in encoders), *training.hidden]
        blocks: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            blocks += [nn.Linear(width_in, width_out), nn.ReLU(), nn.Dropout(training.dropout)]
        self.body = nn.Sequential(*blocks)
        self.head = _head(widths[-1], start)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return outputs."""
        parts = self.layout.cut(matrix)
        encoded = torch.cat([encoder(parts) for encoder in self.encoders], dim=1)
        outputs: Tensor = self.head(self.body(encoded))
        return outputs


class Wide(nn.Module):
    """Return outputs for each row of the matrix, shape [rows, outputs]."""

    def __init__(self, layout: Layout, start: Tensor) -> None:
        """Build the layers."""
        super().__init__()
        self.layout = layout
        self.categories = Categories(layout, len(start), spread=0.0)
        self.head = _head(layout.numeric, start)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return outputs."""
        parts = self.layout.cut(matrix)
        outputs: Tensor = self.head(parts.numbers) + self.categories(parts.codes).sum(dim=1)
        return outputs


def _head(width: int, start: Tensor) -> nn.Linear:
    head = nn.Linear(width, len(start))
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(start)
    return head
