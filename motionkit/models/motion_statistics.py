"""What a monitor of motion can say without any learned representation: how fast and how jerkily keypoints move."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

STATISTICS = (
    "mean speed",
    "highest speed",
    "mean acceleration",
    "highest acceleration",
    "mean jerk",
    "spread of speed",
)
SMALLEST = 1e-3  # pixels a frame: what counts as standing still, so that logarithms stay finite


def motion_statistics(keypoints: Float[Tensor, "batch frames joints axes"]) -> Float[Tensor, "batch statistics"]:
    """The logarithms of ``STATISTICS`` of each window, in pixels a frame (squared, cubed) or whatever the unit is.

    Means are over frames and joints, the highest are over frames of the mean over joints; the spread is the standard
    deviation over frames and joints. Raises ``ValueError`` for fewer than 4 frames.
    """
    if keypoints.shape[1] < 4:
        raise ValueError(f"windows have {keypoints.shape[1]} frames; the third difference needs 4")
    speed, acceleration, jerk = (keypoints.diff(n=order, dim=1).norm(dim=-1) for order in (1, 2, 3))
    values = (
        speed.mean((1, 2)),
        speed.mean(2).amax(1),
        acceleration.mean((1, 2)),
        acceleration.mean(2).amax(1),
        jerk.mean((1, 2)),
        speed.flatten(1).std(1),
    )
    return torch.stack(values, 1).clamp_min(SMALLEST).log()


class MotionStatistics:
    """Distance of a window's statistics from those of usual windows: Mahalanobis's, under one normal distribution.

    keypoints: (windows, frames, joints, axes) of usual windows, at least two; their mean and covariance are kept.
    """

    def __init__(self, keypoints: Float[Tensor, "windows frames joints axes"]) -> None:
        if len(keypoints) < 2:
            raise ValueError(f"a covariance needs at least 2 windows, got {len(keypoints)}")
        usual = motion_statistics(keypoints).double()
        self.mean = usual.mean(0)
        # a little of the identity: windows that are all alike have no covariance that could be inverted
        self.precision = torch.linalg.inv(usual.T.cov() + 1e-4 * torch.eye(len(STATISTICS)).to(usual))

    def score(self, keypoints: Float[Tensor, "batch frames joints axes"]) -> Float[Tensor, "batch"]:
        """Squared distance of each window, the higher, the more unusual; 6, the number of statistics, is usual."""
        away = motion_statistics(keypoints).double() - self.mean
        return (away @ self.precision * away).sum(1)
