"""Heatmaps by torch operations: any device, any float type, differentiable. What :mod:`.heatmaps` draws where it cannot
compile.

Points are (N, J, axes) with x first; their pictures (N, channels, H, W) or volumes (N, channels, D, H, W). The
functions expect finite points and peaks of at least 0, and build every channel in full.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

VIEWS = ((2, 1, 0), (0, 2, 1), (0, 1, 2))
"""(column, row, depth) axes of the projections YZ, XZ, XY."""


def gaussians(points: Tensor, strengths: Tensor, shape: Sequence[int], sigma: float, merge: bool) -> Tensor:
    """Separable Gaussians: (N, J, axes) and (N, J) to (N, J or 1, *shape); x is the last axis of the shape."""
    heat = None
    for offset in reversed(_offsets(points, shape)):
        factor = torch.exp(offset.square() / (-2 * sigma**2))
        heat = factor * strengths.view(*strengths.shape, *[1] * len(shape)) if heat is None else heat * factor
    return _merged(heat) if merge else heat


def segments(
    points: Tensor, strengths: Tensor, pairs: np.ndarray, shape: Sequence[int], sigma: float, merge: bool
) -> Tensor:
    """Segments with a Gaussian profile: (N, J, axes) and (N, J) to (N, L or 1, *shape)."""
    middle, half, peaks = _ends(points, strengths, pairs)
    offsets = _offsets(middle, shape)
    halves = _aligned(half, len(shape))
    heat = _profile(_squared_distance(offsets, halves), peaks, sigma)
    return _merged(heat) if merge else heat


def projected_segments(
    points: Tensor, strengths: Tensor, pairs: np.ndarray, size: int, sigma: float, on_grid: bool
) -> Tensor:
    """Merged segments seen along x, y, z: (N, J, 3) and (N, J) to (N, 3, S, S)."""
    middle, half, peaks = _ends(points, strengths, pairs)
    pictures = []
    for column, row, depth in VIEWS:
        offsets = _offsets(middle[..., [column, row]], (size, size))
        across = _aligned(half[..., [column, row]], 2)
        if on_grid:
            center, along = middle[..., depth, None, None], half[..., depth, None, None]
            with torch.no_grad():
                layer = (center + _nearest(offsets, across) * along).floor()
            squared = [
                _squared_distance([*offsets, near.clamp(0, size - 1) - center], [*across, along])
                for near in (layer, layer + 1)
            ]
            squared = torch.minimum(*squared)
        else:
            squared = _squared_distance(offsets, across)
        pictures.append(_merged(_profile(squared, peaks, sigma)))
    return torch.cat(pictures, dim=1)


def _ends(points: Tensor, strengths: Tensor, pairs: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Middle and half vector of each limb, (N, L, axes), and its peak (N, L)."""
    first, second = (torch.as_tensor(pairs[:, end].copy(), device=points.device) for end in (0, 1))
    start, end = points[:, first], points[:, second]
    return (start + end) / 2, (end - start) / 2, torch.minimum(strengths[:, first], strengths[:, second])


def _aligned(vectors: Tensor, num_axes: int) -> list[Tensor]:
    """Components x, y, .. of (N, K, axes), each with one axis of length 1 for each axis of the grid."""
    return [component.reshape(*component.shape, *[1] * num_axes) for component in vectors.unbind(-1)]


def _offsets(points: Tensor, shape: Sequence[int]) -> list[Tensor]:
    """Pixel minus point along x, y, .. as (N, K, .., length, .. 1): a grid that is never spelled out."""
    offsets = []
    for axis, component in enumerate(_aligned(points, len(shape))):
        pixels = torch.arange(shape[-1 - axis], dtype=points.dtype, device=points.device)
        offsets.append(pixels.view(-1, *[1] * axis) - component)
    return offsets


def _nearest(offsets: list[Tensor], halves: list[Tensor]) -> Tensor:
    """Where on the segment lies the nearest point: -1 at its first end, 1 at its second, any number if it has no
    length."""
    squared_half = sum(h.square() for h in halves)
    squared_half = squared_half.where(squared_half > 1e-12, 1.0)
    return (sum(q * (h / squared_half) for q, h in zip(offsets, halves, strict=True))).clamp(-1.0, 1.0)


def _squared_distance(offsets: list[Tensor], halves: list[Tensor]) -> Tensor:
    at = _nearest(offsets, halves)
    return sum((q - at * h).square() for q, h in zip(offsets, halves, strict=True))


def _profile(squared_distance: Tensor, peaks: Tensor, sigma: float) -> Tensor:
    heat = torch.exp(squared_distance / (-2 * sigma**2))
    return heat * peaks.view(*peaks.shape, *[1] * (heat.ndim - 2))


def _merged(heat: Tensor) -> Tensor:
    """Maximum over the channels, 0 where there are none."""
    if heat.shape[1] == 0:
        return heat.new_zeros(heat.shape[0], 1, *heat.shape[2:])
    return heat.amax(dim=1, keepdim=True)
