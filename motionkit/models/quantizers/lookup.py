"""Nearest codes and what goes with them, in one pass over the vectors: tokens, codes, squared error, statistics.

On a CPU the pass goes in chunks of rows that stay in a core's cache from the matrix product to the sums, and costs
little more than the product. No matrix of all vectors by all codes is ever made there, on no device a one-hot one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

CHUNK_ROWS = 512  # vectors, scores and codebook together fill about the second-level cache of a core


@dataclass(frozen=True)
class Found:
    """What ``look_up`` finds for vectors (N, dim) in a codebook (K, dim). No gradients.

    tokens: (N,) int64. codes: (N, dim). error: mean of (vector - code)^2 per element.
    counts: (K,) number of vectors of each code. sums: (K, dim) their sums, if asked for.
    """

    tokens: Tensor
    codes: Tensor
    error: Tensor
    counts: Tensor
    sums: Tensor | None


def nearest_codes(vectors: Float[Tensor, "rows dim"], codebook: Float[Tensor, "codes dim"]) -> Int[Tensor, " rows"]:
    """Index of the code with the least Euclidean distance to each vector; of equally near codes any one.

    ||v - e||^2 = ||v||^2 - 2 (v . e - ||e||^2 / 2), so the nearest code has the greatest v . e - ||e||^2 / 2: one
    matrix product and a maximum, in single precision whatever the autocast setting. No gradient.
    """
    with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
        vectors, codebook = vectors.detach().float(), codebook.detach().float()
        if _is_chunked(vectors):
            tokens = torch.empty(len(vectors), dtype=torch.int64)
            for _ in _fill(tokens, vectors, codebook):
                pass
            return tokens
        return torch.addmm(-0.5 * codebook.square().sum(1), vectors, codebook.t()).argmax(1)


def look_up(vectors: Float[Tensor, "rows dim"], codebook: Float[Tensor, "codes dim"], with_sums: bool) -> Found:
    """The nearest code of each vector, with the error and the statistics of the assignment: see ``Found``.

    with_sums: whether to sum up the vectors of each code.
    """
    with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
        vectors, codebook = vectors.detach().float(), codebook.detach().float()
        sums = torch.zeros_like(codebook) if with_sums else None
        if _is_chunked(vectors):
            tokens, codes, error = _pass_in_chunks(vectors, codebook, sums)
        else:
            tokens = nearest_codes(vectors, codebook)
            codes = F.embedding(tokens, codebook)
            error = F.mse_loss(codes, vectors)
            if sums is not None:
                sums.index_add_(0, tokens, vectors)
        return Found(tokens, codes, error, torch.bincount(tokens, minlength=len(codebook)), sums)


def _is_chunked(vectors: Tensor) -> bool:
    return vectors.device.type == "cpu" and not torch.compiler.is_compiling()


def _fill(tokens: Tensor, vectors: Tensor, codebook: Tensor) -> Iterator[slice]:
    """Fills in the tokens chunk by chunk; yields the rows that were filled in last, their vectors still in cache."""
    offset, columns = -0.5 * codebook.square().sum(1), codebook.t()
    scores = vectors.new_empty(min(CHUNK_ROWS, len(vectors)), len(codebook))
    scores_array, tokens_array = scores.numpy(), tokens.numpy()
    for start in range(0, len(vectors), CHUNK_ROWS):
        rows = slice(start, min(start + CHUNK_ROWS, len(vectors)))
        size = rows.stop - start
        torch.addmm(offset, vectors[rows], columns, out=scores[:size])
        scores_array[:size].argmax(1, out=tokens_array[rows])  # torch's takes ten times as long
        yield rows


def _pass_in_chunks(vectors: Tensor, codebook: Tensor, sums: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, codes, mean squared error; adds to ``sums``."""
    tokens = torch.empty(len(vectors), dtype=torch.int64)
    codes = torch.from_numpy(np.empty(vectors.shape, np.float32))  # fresh memory costs half through numpy: huge pages
    difference = torch.empty(min(CHUNK_ROWS, len(vectors)), vectors.shape[1])
    squares = 0.0
    for rows in _fill(tokens, vectors, codebook):
        torch.index_select(codebook, 0, tokens[rows], out=codes[rows])
        flat = torch.sub(vectors[rows], codes[rows], out=difference[: rows.stop - rows.start]).view(-1)
        squares += torch.dot(flat, flat).item()
        if sums is not None:
            sums.index_add_(0, tokens[rows], vectors[rows])
    return tokens, codes, vectors.new_tensor(squares / vectors.numel() if vectors.numel() else float("nan"))
