"""How probable a grid of tokens is: a causal transformer, and what counting alone can say.

Cells follow each other in raster order: time step after time step, in each row after row. A prior gives each token's
log-probability given all tokens before it; their sum is that of the clip. Clips that the prior finds improbable are
unusual, and those it finds probable can be stored in few bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.data.batches import TensorBatches
from motionkit.models.transformer import GridPosition, TransformerBlock
from motionkit.training import TrainConfig, fit


@dataclass(frozen=True)
class TokenPriorConfig:
    """Sizes of a ``TokenPrior``.

    num_codes: size of the codebook.
    grid: (t, h, w) of a clip's tokens; a further last axis for several tokens a cell.
    dim, depth, num_heads: width, number of blocks, attention heads of each.
    dropout: share of values that training drops, in [0, 1).

    Raises: ``ValueError`` naming the field and its value.
    """

    num_codes: int
    grid: tuple[int, ...]
    dim: int = 64
    depth: int = 2
    num_heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not self.grid or min(self.grid) < 1:
            raise ValueError(f"grid must be sizes of at least 1, got {self.grid}")
        for name in ("num_codes", "dim", "depth", "num_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.dim % self.num_heads:
            raise ValueError(f"dim must be a multiple of num_heads {self.num_heads}, got {self.dim}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


class TokenPrior(nn.Module):
    """A causal transformer over tokens (B, *grid).

    Cell n sees the tokens of the cells 0 .. n - 1 and knows its own place. Raises: ``ValueError`` for another grid.
    """

    def __init__(self, config: TokenPriorConfig) -> None:
        super().__init__()
        self.config = c = config
        self.start = nn.Parameter(0.02 * torch.randn(c.dim))  # stands before the first token
        self.codes = nn.Embedding(c.num_codes, c.dim)
        self.position = GridPosition(c.grid, c.dim)
        blocks = (TransformerBlock(c.dim, c.num_heads, c.dropout, is_causal=True) for _ in range(c.depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(c.dim)
        self.last = nn.Linear(c.dim, c.num_codes)

    def forward(self, tokens: Int[Tensor, "batch *grid"]) -> Float[Tensor, "batch cells codes"]:
        """Logits of each cell's token given the tokens before it."""
        _check_grid(tokens, self.config.grid)
        before = self.codes(tokens.flatten(1)[:, :-1])
        before = torch.cat([self.start.expand(len(tokens), 1, -1), before], dim=1)
        x = self.position(before.unflatten(1, self.config.grid)).flatten(1, -2)
        return self.last(self.norm(self.blocks(x)))

    @torch.no_grad()
    def log_prob(self, tokens: Int[Tensor, "batch *grid"], batch_size: int = 128) -> Float[Tensor, "batch *grid"]:
        """Log-probability [nats] of each token given those before it, on the CPU; the sum is that of the clip."""
        device = next(self.parameters()).device
        return torch.cat([-self._cost(part.to(device)).cpu() for part in tokens.split(batch_size)])

    def loss(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Mean cost of a token of {"tokens": (B, *grid)}: ``"loss"`` in nats, and ``"bits"``."""
        cost = self._cost(batch["tokens"]).mean()
        return {"loss": cost, "bits": cost.detach() / math.log(2)}

    def _cost(self, tokens: Tensor) -> Tensor:
        logits = self(tokens).float()
        return F.cross_entropy(logits.movedim(-1, 1), tokens.flatten(1), reduction="none").view_as(tokens)


def train_prior(
    tokens: Int[Tensor, "windows *grid"],
    num_codes: int,
    config: TrainConfig,
    *,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
) -> TokenPrior:
    """A prior of the default size, trained on these tokens. config.seed: of initial weights and batches too."""
    torch.manual_seed(config.seed)
    model = TokenPrior(TokenPriorConfig(num_codes, tuple(tokens.shape[1:]))).to(device)
    fit(model, TensorBatches({"tokens": tokens}, batch_size, seed=config.seed, device=device), config)
    return model


class CountPrior:
    """What counting says, without any training: how often each code occurs in each cell, and after which.

    tokens: (windows, t, ...) to count, num_codes: size of the codebook.
    memory: 0: p(code | cell). 1: p(code | cell, code of the same cell one time step before), with the pairs counted
        over all cells and times.
    smoothing: each table adds so many imagined samples, spread as the next coarser table says: pairs lean on cells,
        cells on the codes of all cells, these on even use. Above 0, so that nothing is impossible.

    Raises: ``ValueError`` for a memory or smoothing out of range, or tokens outside the codebook.
    """

    def __init__(
        self, tokens: Int[Tensor, "windows *grid"], num_codes: int, *, memory: int = 0, smoothing: float = 8.0
    ) -> None:
        if memory not in (0, 1):
            raise ValueError(f"memory is {memory}; expected 0 or 1 time steps")
        if not smoothing > 0:
            raise ValueError(f"smoothing is {smoothing}; it must be above 0")
        if tokens.min() < 0 or tokens.max() >= num_codes:
            raise ValueError(f"tokens run from {tokens.min()} to {tokens.max()}, outside a codebook of {num_codes}")
        self.grid, self.memory, self.smoothing = tuple(tokens.shape[1:]), memory, smoothing
        cells = tokens.flatten(1)
        offsets = torch.arange(cells.shape[1], device=cells.device) * num_codes
        counts = torch.bincount((cells + offsets).flatten(), minlength=cells.shape[1] * num_codes)
        counts = counts.view(-1, num_codes).double()
        overall = (counts.sum(0) + smoothing / num_codes) / (counts.sum() + smoothing)
        self.by_cell = (counts + smoothing * overall) / (len(tokens) + smoothing)  # (cells, codes)
        pairs = (tokens[:, :-1] * num_codes + tokens[:, 1:]).flatten()
        self.pairs = torch.bincount(pairs, minlength=num_codes**2).view(num_codes, num_codes).double()

    def log_prob(self, tokens: Int[Tensor, "batch *grid"]) -> Float[Tensor, "batch *grid"]:
        """Log-probability [nats] of each token, as of ``TokenPrior``."""
        _check_grid(tokens, self.grid)
        here = torch.arange(math.prod(self.grid), device=tokens.device).view(self.grid)
        probability = self.by_cell[here, tokens]
        if self.memory:
            before, after = tokens[:, :-1], tokens[:, 1:]
            seen = self.pairs[before, after] + self.smoothing * probability[:, 1:]
            after = seen / (self.pairs.sum(1)[before] + self.smoothing)
            probability = torch.cat([probability[:, :1], after], dim=1)
        return probability.log().float()


def bits_per_token(log_prob: Float[Tensor, "batch *grid"]) -> Float[Tensor, "batch"]:
    """Mean cost of a token in bits, -log2 p, for each clip: the higher, the more unusual.

    log_prob: in nats, from a prior. A code of fixed length costs log2 num_codes; the mean over clips that the prior was
    not trained on is what an ideal entropy coder with this prior needs.

    >>> bits_per_token(torch.tensor([[0.5, 0.125]]).log())  # 1 bit and 3 bits
    tensor([2.])
    """
    return -log_prob.flatten(1).mean(1) / math.log(2)


def _check_grid(tokens: Tensor, grid: tuple[int, ...]) -> None:
    if tuple(tokens.shape[1:]) != grid:
        raise ValueError(f"tokens of shape {tuple(tokens.shape)}: expected (B, {', '.join(map(str, grid))})")
