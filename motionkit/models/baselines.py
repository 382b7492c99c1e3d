"""Reconstructions that need no model: what every autoencoder of heatmap clips must beat."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def blank(target: Float[Tensor, "*batch t h w"]) -> Float[Tensor, "*batch t h w"]:
    """All zeros: the background that fills most of a heatmap."""
    return torch.zeros_like(target)


def first_frame(target: Float[Tensor, "*batch t h w"]) -> Float[Tensor, "*batch t h w"]:
    """The clip's first frame in every frame: no motion. A view of the target."""
    return target[..., :1, :, :].expand_as(target)


def temporal_mean(target: Float[Tensor, "*batch t h w"]) -> Float[Tensor, "*batch t h w"]:
    """The mean over the clip's frames in every frame: the still picture with the least squared error. A view."""
    return target.mean(-3, keepdim=True).expand_as(target)


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "blank": blank,
    "first frame": first_frame,
    "temporal mean": temporal_mean,
}
