"""What predictors share: which clips they take, and how far their predictions are from what came."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def prediction_loss(
    predicted: Float[Tensor, "batch frames joints 3"], clips: Float[Tensor, "batch all_frames joints 3"], horizon: int
) -> dict[str, Tensor]:
    """Means of un-squared distances of joints [m]: ``"loss"`` over all predicted frames, which are the last of the
    clips, and, detached, ``"distance"`` over the last ``horizon`` of them."""
    distances = torch.linalg.vector_norm(predicted - clips[:, -predicted.shape[1] :], dim=-1)
    return {"loss": distances.mean(), "distance": distances.detach()[:, -horizon:].mean()}


def checked_clips(batch: Tensor | Mapping[str, Tensor], num_frames: int, num_joints: int) -> Tensor:
    """Clips (B, num_frames, num_joints, 3), given as such or as ``{"clips": ...}``; ``ValueError`` for other shapes."""
    clips = batch if isinstance(batch, Tensor) else batch["clips"]
    if clips.ndim != 4 or clips.shape[1:] != (num_frames, num_joints, 3):
        raise ValueError(f"clips have shape {tuple(clips.shape)}; expected (batch, {num_frames}, {num_joints}, 3)")
    return clips
