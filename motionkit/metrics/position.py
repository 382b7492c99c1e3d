"""Distances between predicted and true joints. All are means of un-squared Euclidean norms; the unit is in the name.

Positions are in metres, keypoints in pixels. Any number of leading axes is kept, joints are averaged.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MM_PER_M = 1000.0


def mpjpe_mm(
    predicted: Float[Tensor, "*batch joints 3"], target: Float[Tensor, "*batch joints 3"]
) -> Float[Tensor, "*batch"]:
    """Mean per-joint position error in millimetres of positions in metres.

    Nothing is aligned: for the usual root-relative protocol subtract the root joint from both first.

    >>> mpjpe_mm(torch.zeros(1, 2, 3), torch.tensor([[[0.003, 0.004, 0.0], [0.0, 0.0, 0.001]]]))  # (5 + 1) / 2
    tensor([3.])
    """
    return MM_PER_M * _distance(predicted, target).mean(-1)


def pa_mpjpe_mm(
    predicted: Float[Tensor, "*batch joints 3"], target: Float[Tensor, "*batch joints 3"]
) -> Float[Tensor, "*batch"]:
    """Mean per-joint error in millimetres after moving, turning and scaling each predicted pose onto its target.

    The best similarity transform in the sense of least squares, never a reflection: a mirrored pose keeps an error.
    A prediction whose joints all coincide is placed at the target's center. For measuring, not for training: the
    gradient of the singular value decomposition does not exist for flat poses.

    Source: Umeyama 1991, eqs. 38 to 43. Known as P-MPJPE, "protocol 2" of Human3.6M.
    """
    return mpjpe_mm(procrustes(predicted, target), target)


def procrustes(
    predicted: Float[Tensor, "*batch points 3"], target: Float[Tensor, "*batch points 3"]
) -> Float[Tensor, "*batch points 3"]:
    """``predicted`` after the rotation, positive scale and shift that bring it closest to ``target``.

    Source: Umeyama 1991; X = predicted, Y = target, scale c, rotation R, shift t.
    """
    _check_same_shape(predicted, target)
    center_x, center_y = predicted.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    x, y = predicted - center_x, target - center_y
    u, singular, vh = torch.linalg.svd(x.mT @ y)  # rows are points: the best R maps x to x @ R
    sign = torch.ones_like(singular)
    sign[..., -1] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0)  # turn, do not mirror
    rotation = (u * sign[..., None, :]) @ vh
    spread = x.square().sum((-2, -1))
    scale = (singular * sign).sum(-1) / spread.clamp_min(torch.finfo(spread.dtype).tiny)
    return scale[..., None, None] * x @ rotation + center_y


def mpjve_mm_per_s(
    predicted: Float[Tensor, "*batch frames joints 3"], target: Float[Tensor, "*batch frames joints 3"], fps: float
) -> Float[Tensor, "*batch"]:
    """Mean per-joint velocity error in millimetres per second, by first differences of the frames.

    Much of the literature reports millimetres per frame: divide by ``fps``. Needs two frames or more.
    """
    if predicted.shape[-3] < 2:
        raise ValueError(f"a velocity needs 2 frames or more, got {predicted.shape[-3]} in {tuple(predicted.shape)}")
    _check_same_shape(predicted, target)
    return fps * mpjpe_mm(predicted.diff(dim=-3), target.diff(dim=-3)).mean(-1)


def keypoint_error_px(
    predicted: Float[Tensor, "*batch joints 2"], target: Float[Tensor, "*batch joints 2"]
) -> Float[Tensor, "*batch"]:
    """Mean distance between keypoints in pixels."""
    return _distance(predicted, target).mean(-1)


def pck(
    predicted: Float[Tensor, "*batch joints axes"],
    target: Float[Tensor, "*batch joints axes"],
    threshold: float,
) -> Float[Tensor, "*batch"]:
    """Share of joints (0 to 1) no farther than ``threshold`` from their target, in the unit of the input.

    >>> pck(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.zeros(2, 2), threshold=5.0)
    tensor(0.5000)
    """
    return (_distance(predicted, target) <= threshold).to(predicted.dtype).mean(-1)


def _distance(predicted: Tensor, target: Tensor) -> Tensor:
    _check_same_shape(predicted, target)
    return torch.linalg.vector_norm(predicted - target, dim=-1)


def _check_same_shape(predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"predicted has shape {tuple(predicted.shape)}, target {tuple(target.shape)}: make them equal")
