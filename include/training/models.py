"""This file holds the networks that come with Evergreen, in PyTorch: functions that `training.model` can name."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from include.recipe import Training
from include.training.layout import Layout

# PyTorch begins with 1: mean hold-out AUC over four seasons of flights was 0.686 with that, 0.691 with this.
_EMBEDDING_SPREAD = 0.1


def tabular_mlp(layout: Layout, training: Training, start: Tensor) -> nn.Module:
    """Return embeddings for categories beside scaled numbers, then a plain multi-layer perceptron.

    :param start: the first outputs for any row, shape [outputs], so that no epoch is spent on learning those.
    """
    return TabularNet(layout, training, start)


def wide(layout: Layout, training: Training, start: Tensor) -> nn.Module:  # noqa: ARG001 - as every model
    """Return a linear model: a weight per number, a bias per category. What a deeper one has to beat."""
    return Wide(layout, start)


class Categories(nn.Module):
    """Look codes up in one table for all columns, [rows, columns] to [rows, columns, dim].

    Each column owns a stretch of it, which begins with its "unknown": that one starts, and may stay, at nought.
    """

    offsets: Tensor

    def __init__(self, layout: Layout, dim: int, spread: float) -> None:
        """Make the table."""
        super().__init__()
        starts = [0]
        for size in layout.categories:
            starts.append(starts[-1] + size + 1)
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int64) + 1)
        self.table = nn.Embedding(starts[-1], dim)
        with torch.no_grad():
            self.table.weight.mul_(spread)
            self.table.weight[torch.tensor(starts[:-1], dtype=torch.int64)] = 0

    def forward(self, codes: Tensor) -> Tensor:
        """Return what stands for each code."""
        found: Tensor = self.table(codes.to(torch.int64) + self.offsets)
        return found


class TabularNet(nn.Module):
    """Return outputs for each row of the matrix, shape [rows, outputs]."""

    def __init__(self, layout: Layout, training: Training, start: Tensor) -> None:
        """Build the layers."""
        super().__init__()
        self.num_numeric = layout.numeric
        self.categories = Categories(layout, training.embedding_dim, _EMBEDDING_SPREAD)
        widths = [layout.numeric + len(layout.categories) * training.embedding_dim, *training.hidden]
        blocks: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            blocks += [nn.Linear(width_in, width_out), nn.ReLU(), nn.Dropout(training.dropout)]
        self.body = nn.Sequential(*blocks)
        self.head = _head(widths[-1], start)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return outputs."""
        numbers, codes = matrix[:, : self.num_numeric], matrix[:, self.num_numeric :]
        embedded = self.categories(codes).flatten(start_dim=1)
        outputs: Tensor = self.head(self.body(torch.cat([numbers, embedded], dim=1)))
        return outputs


class Wide(nn.Module):
    """Return outputs for each row of the matrix, shape [rows, outputs]."""

    def __init__(self, layout: Layout, start: Tensor) -> None:
        """Build the layers."""
        super().__init__()
        self.num_numeric = layout.numeric
        self.categories = Categories(layout, len(start), spread=0.0)
        self.head = _head(layout.numeric, start)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return outputs."""
        numbers, codes = matrix[:, : self.num_numeric], matrix[:, self.num_numeric :]
        outputs: Tensor = self.head(numbers) + self.categories(codes).sum(dim=1)
        return outputs


def _head(width: int, start: Tensor) -> nn.Linear:
    head = nn.Linear(width, len(start))
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(start)
    return head
