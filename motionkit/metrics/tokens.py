"""How well a codebook is used. Everything follows from one table: how often each code was chosen."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def usage(tokens: Int[Tensor, "*any"], num_codes: int) -> Int[Tensor, "codes"]:
    """How often each of ``num_codes`` codes occurs in ``tokens``. Tables of several batches may be added.

    Raises ``ValueError`` for a token outside 0 .. num_codes - 1.

    >>> usage(torch.tensor([[0, 2], [2, 2]]), num_codes=4)
    tensor([1, 0, 3, 0])
    """
    tokens = tokens.flatten()
    if tokens.numel() and not (tokens.min() >= 0 and tokens.max() < num_codes):
        raise ValueError(
            f"tokens run from {tokens.min().item()} to {tokens.max().item()}; "
            f"a codebook of {num_codes} allows 0 to {num_codes - 1}"
        )
    return torch.bincount(tokens, minlength=num_codes)


def usage_by_depth(tokens: Int[Tensor, "*any depth"], num_codes: int) -> Int[Tensor, "depth codes"]:
    """``usage`` of residual tokens, whose last axis is the depth: each depth has a codebook of its own, so token 3 of
    one depth and token 3 of another are different codes. ``usage`` itself would add them up.

    >>> usage_by_depth(torch.tensor([[0, 1], [0, 1], [0, 0]]), num_codes=2)
    tensor([[3, 0],
            [1, 2]])
    """
    return torch.stack([usage(level, num_codes) for level in tokens.unbind(-1)])


def perplexity(counts: Int[Tensor, "codes"] | Float[Tensor, "codes"]) -> float:
    """Effective number of codes: exp of the entropy of their frequencies, from 1 (one code) to K (all alike).

    Counts may be weights (running averages). NaN if no code was ever used.

    >>> perplexity(torch.tensor([5, 5, 0, 0]))
    2.0
    """
    if (counts < 0).any():
        raise ValueError(f"counts must not be negative, got {counts.min().item()}")
    total = counts.sum().item()
    if total == 0:
        return math.nan
    share = counts.double() / total
    return math.exp(-torch.special.xlogy(share, share).sum().item())


def dead_codes(counts: Int[Tensor, "codes"] | Float[Tensor, "codes"]) -> Int[Tensor, "dead"]:
    """Indices of the codes that were never used, in order; ``len`` of it is their number.

    >>> dead_codes(torch.tensor([1, 0, 3, 0]))
    tensor([1, 3])
    """
    return torch.nonzero(counts == 0).flatten()


def bits_per_second(num_tokens: int, num_codes: float, duration_s: float) -> float:
    """Bits needed to store a second of motion: num_tokens x log2(num_codes) / duration_s.

    num_tokens: of that duration, those of all depths of a residual quantizer.

    With the codebook's size this is a code of fixed length; with its ``perplexity`` it is what an ideal entropy coder
    needs that knows the codes' frequencies and nothing else.

    >>> bits_per_second(num_tokens=4 * 8 * 8, num_codes=128, duration_s=64 / 30)  # F16/128 on 64 frames at 30 Hz
    840.0
    """
    if duration_s <= 0:
        raise ValueError(f"duration_s is {duration_s}; it must be positive")
    if num_codes < 1:
        raise ValueError(f"num_codes is {num_codes}; it must be 1 or more")
    return num_tokens * math.log2(num_codes) / duration_s


def occurrences(tokens: Int[Tensor, "windows t h w"], code: int) -> Int[Tensor, "found 4"]:
    """Where a code is used: window, latent step, row and column of each place, in order.

    >>> occurrences(torch.tensor([[[[0, 7]]], [[[7, 7]]]]), code=7).tolist()
    [[0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 1]]
    """
    return torch.nonzero(tokens == code)


def similar_codes(
    vectors: Float[Tensor, "codes dim"], code: int, count: int
) -> tuple[Int[Tensor, "count"], Float[Tensor, "count"]]:
    """The ``count`` codes nearest to one of them and their Euclidean distances from it, the nearest first.

    The code itself is left out; of fewer codes all others are returned.

    >>> similar_codes(torch.tensor([[0.0], [3.0], [1.0]]), code=0, count=9)
    (tensor([2, 1]), tensor([1., 3.]))
    """
    distances = (vectors.double() - vectors[code].double()).norm(dim=1)
    distances[code] = math.inf
    nearest = distances.argsort(stable=True)[: min(count, len(vectors) - 1)]
    return nearest, distances[nearest].to(vectors.dtype)


def similarity_order(vectors: Float[Tensor, "codes dim"]) -> Float[Tensor, "codes"]:
    """A number in [0, 1] for each code, evenly spread, so that similar codes get similar numbers: their order along the
    direction in which codes differ most (the first principal component).

    >>> similarity_order(torch.tensor([[0.0, 0.1], [9.0, 0.0], [4.0, 0.0]])).tolist()
    [0.0, 1.0, 0.5]
    """
    centered = vectors.double() - vectors.double().mean(0)
    direction = torch.linalg.eigh(centered.T @ centered).eigenvectors[:, -1]
    along = centered @ direction
    if along[0] > along.mean():  # an axis has no sign of its own: code 0 is in the lower half
        along = -along
    return along.argsort(stable=True).argsort().to(vectors.dtype) / max(1, len(vectors) - 1)
