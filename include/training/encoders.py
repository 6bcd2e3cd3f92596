"""This file turns each kind of column into a vector, in PyTorch: parts that networks are put together from."""

import torch
from torch import Tensor, nn

from include.training.layout import Layout, Parts, halvings
from include.training.words import FIRST, NOTHING

# PyTorch begins with 1: mean hold-out AUC over four seasons of flights was 0.686 with that, 0.691 with this.
EMBEDDING_SPREAD = 0.1


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


class Table(nn.Module):
    """Numbers as they are, beside what stands for the categories."""

    def __init__(self, layout: Layout, dim: int) -> None:
        """Make the table of categories."""
        super().__init__()
        self.width = layout.numeric + len(layout.categories) * dim
        self.categories = Categories(layout, dim, EMBEDDING_SPREAD)

    def forward(self, parts: Parts) -> Tensor:
        """Return a vector per row."""
        embedded = self.categories(parts.codes).flatten(start_dim=1)
        return torch.cat([parts.numbers, embedded], dim=1)


class Texts(nn.Module):
    """The mean of the words' embeddings, text column by text column (Joulin et al. 2017, "Bag of tricks")."""

    def __init__(self, layout: Layout, dim: int) -> None:
        """Make a table of words per column."""
        super().__init__()
        self.width = dim * len(layout.texts)
        self.tables = nn.ModuleList(nn.Embedding(known + FIRST, dim) for known, _ in layout.texts)
        with torch.no_grad():
            for table in self.tables:
                table.weight.mul_(EMBEDDING_SPREAD)  # type: ignore[operator]

    def forward(self, parts: Parts) -> Tensor:
        """Return a vector per row; nought for a text without words."""
        means = []
        for table, codes in zip(self.tables, parts.texts, strict=True):
            is_word = (codes != NOTHING).to(torch.float32).unsqueeze(2)
            summed = (table(codes.to(torch.int64)) * is_word).sum(dim=1)
            means.append(summed / is_word.sum(dim=1).clamp(min=1))
        return torch.cat(means, dim=1)


class Pictures(nn.Module):
    """Convolutions that halve a picture and see more in it at each step, until little of it is left to lay out flat."""

    def __init__(self, layout: Layout) -> None:
        """Build the layers of each column."""
        super().__init__()
        self.shapes = layout.images
        self.nets = nn.ModuleList()
        self.width = 0
        for height, width, channels in layout.images:
            steps = halvings(height, width)
            blocks: list[nn.Module] = []
            seen = channels
            for step in steps:
                blocks += [nn.Conv2d(seen, step.filters, 3, stride=2, padding=1), nn.ReLU()]
                seen = step.filters
            self.nets.append(nn.Sequential(*blocks, nn.Flatten()))
            self.width += steps[-1].height * steps[-1].width * seen

    def forward(self, parts: Parts) -> Tensor:
        """Return a vector per row."""
        found = []
        for net, (height, width, channels), flat in zip(self.nets, self.shapes, parts.images, strict=True):
            found.append(net(flat.reshape(-1, height, width, channels).permute(0, 3, 1, 2)))
        return torch.cat(found, dim=1)
