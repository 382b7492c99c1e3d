"""Predictions that need no model. The first is hard to beat over short horizons (Martinez and others, CVPR 2017)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def zero_velocity(
    context: Float[Tensor, "batch frames joints 3"], horizon: int
) -> Float[Tensor, "batch horizon joints 3"]:
    """The last frame in every frame: the body stops. A view of the context.

    >>> zero_velocity(torch.arange(2.0).view(1, 2, 1, 1).expand(-1, -1, -1, 3), 2)[0, :, 0, 0]
    tensor([1., 1.])
    """
    return context[:, -1:].expand(-1, horizon, -1, -1)


def constant_velocity(
    context: Float[Tensor, "batch frames joints 3"], horizon: int
) -> Float[Tensor, "batch horizon joints 3"]:
    """Each joint goes on as between the last two frames.

    Raises: ``ValueError`` for a context of one frame.

    >>> constant_velocity(torch.arange(2.0).view(1, 2, 1, 1).expand(-1, -1, -1, 3), 2)[0, :, 0, 0]
    tensor([2., 3.])
    """
    if context.shape[1] < 2:
        raise ValueError(f"a velocity needs 2 frames or more, got {context.shape[1]} in {tuple(context.shape)}")
    steps = torch.arange(1, horizon + 1, dtype=context.dtype, device=context.device).view(-1, 1, 1)
    return context[:, -1:] + steps * (context[:, -1:] - context[:, -2:-1])
