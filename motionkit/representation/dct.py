"""The discrete cosine transform over time, orthonormal: what a node's frames are to a graph network.

Source: paper 4 (HG-VAE), Eq. 7, whose indices mix up; meant is the DCT-II, its inverse the transposed matrix (DCT-III).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


def dct(x: Float[Tensor, "*batch frames"]) -> Float[Tensor, "*batch frames"]:
    """Coefficients of the last axis, slowest first. Lengths and angles are kept. Of half precision come singles.

    >>> dct(torch.ones(1, 4))
    tensor([[2., 0., 0., 0.]])
    """
    return _exact(x, dct_matrix(x.shape[-1]).t())


def idct(coefficients: Float[Tensor, "*batch frames"]) -> Float[Tensor, "*batch frames"]:
    """The frames that have these coefficients: the inverse of ``dct``."""
    return _exact(coefficients, dct_matrix(coefficients.shape[-1]))


def _exact(x: Tensor, matrix: Tensor) -> Tensor:
    """Their product in no less than single precision, whatever the autocast setting: halves lose the millimetres."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x @ matrix.to(x)


@lru_cache(maxsize=16)
def dct_matrix(length: int) -> Float[Tensor, "length length"]:
    """Row k is the cosine of k half waves over the frames; float64, shared, never to be written to."""
    with torch.inference_mode(False):
        frame, wave = torch.arange(length, dtype=torch.float64), torch.arange(length, dtype=torch.float64)[:, None]
        rows = torch.cos(math.pi / length * (frame + 0.5) * wave) * math.sqrt(2 / length)
        rows[0] *= math.sqrt(0.5)
        return torch.where(rows.abs() < 1e-15, 0.0, rows)
