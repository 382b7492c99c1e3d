"""Blocks of transformers over cells of a grid, used by more than one model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GridPosition(nn.Module):
    """Adds to each cell of a grid where it is: one learned vector for each place along each axis, summed.

    grid: sizes of the axes, such as (t, h, w) for tokens of a clip or (T,) for frames.
    """

    def __init__(self, grid: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.axes = nn.ParameterList(nn.Parameter(0.02 * torch.randn(size, dim)) for size in grid)

    def forward(self, x: Float[Tensor, "batch *grid dim"]) -> Float[Tensor, "batch *grid dim"]:
        for axis, places in enumerate(self.axes):
            shape = [1] * len(self.axes)
            shape[axis] = len(places)
            x = x + places.view(*shape, -1)
        return x


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer network, each after a norm and around a skip connection.

    is_causal: a cell sees itself and the cells before it in the sequence only.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0, *, is_causal: bool = False) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"dim {dim} is no multiple of num_heads {num_heads}")
        self.num_heads, self.dropout, self.is_causal = num_heads, dropout, is_causal
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Float[Tensor, "batch cells dim"]) -> Float[Tensor, "batch cells dim"]:
        x = x + self._dropped(self._attend(self.norm1(x)))
        return x + self._dropped(self.narrow(F.gelu(self.widen(self.norm2(x)))))

    def _attend(self, x: Tensor) -> Tensor:
        heads = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1)).movedim(1, -2)  # (B, 3, heads, cells, d)
        mixed = F.scaled_dot_product_attention(*heads.unbind(1), is_causal=self.is_causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
