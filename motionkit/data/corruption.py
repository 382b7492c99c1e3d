"""What goes wrong with detected keypoints, each kind by itself and at any level: for curves of error over noise.

Every kind turns true keypoints (..., frames, joints, 2) into what a detector would report and its confidence (...,
frames, joints) in [0, 1], 0 where a joint was missed. Level 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from motionkit.data.cameras import detector_noise, miss
from motionkit.data.skeleton import Skeleton

Detected = tuple[Float[Tensor, "*batch T J 2"], Float[Tensor, "*batch T J"]]


def jitter(keypoints: Float[Tensor, "*batch T J 2"], sigma_px: float, generator: torch.Generator) -> Detected:
    """Gaussian error of ``sigma_px`` a coordinate, independent from frame to frame; see ``detector_noise``."""
    return detector_noise(keypoints, generator, sigma_px=sigma_px, outlier_rate=0.0, miss_rate=0.0)


def outliers(
    keypoints: Float[Tensor, "*batch T J 2"], rate: float, generator: torch.Generator, *, outlier_px: float = 10.0
) -> Detected:
    """A share ``rate`` of the keypoints, independent from frame to frame, is displaced with deviation ``outlier_px``
    a coordinate; see ``detector_noise``."""
    options = {"outlier_rate": rate, "outlier_px": outlier_px, "miss_rate": 0.0}
    return detector_noise(keypoints, generator, sigma_px=0.0, **options)


def occlusion(
    keypoints: Float[Tensor, "*batch T J 2"], rate: float, generator: torch.Generator, *, span_frames: int = 8
) -> Detected:
    """Joints vanish for ``span_frames`` or more at a time, each for a share ``rate`` of the frames on average.

    Spans start at any frame, before the window too, and may run into each other. Missed keypoints are placed at the
    mean of the frame's seen ones, with confidence 0.

    Raises ``ValueError`` for a rate outside 0 to 1 or a span below one frame.
    """
    _check_share("rate", rate)
    if span_frames < 1:
        raise ValueError(f"span_frames is {span_frames}; expected 1 or more")
    *lead, frames, joints, _ = keypoints.shape
    start_rate = 1 - (1 - rate) ** (1 / span_frames)  # hidden: a start in any of the last span_frames frames
    shape = (*lead, joints, frames + span_frames - 1)
    starts = torch.rand(shape, generator=generator, device=keypoints.device) < start_rate
    hidden = F.max_pool1d(starts.float().reshape(-1, 1, shape[-1]), span_frames, stride=1) > 0
    is_seen = ~hidden.view(*lead, joints, frames).transpose(-1, -2)
    return miss(keypoints, is_seen), is_seen.to(keypoints.dtype)


def side_swaps(
    keypoints: Float[Tensor, "*batch T J 2"], rate: float, generator: torch.Generator, *, mirrored: tuple[int, ...]
) -> Detected:
    """In a share ``rate`` of the frames the left and the right side of the body are exchanged; detectors are as sure of
    these as of others, so the confidence stays 1. A picture with all limbs in one channel looks the same.

    mirrored: for each joint the index of its counterpart, as ``Skeleton.mirrored_joints`` gives it.
    """
    _check_share("rate", rate)
    drawn = torch.rand((*keypoints.shape[:-2], 1, 1), generator=generator, device=keypoints.device)
    swapped = torch.where(drawn < rate, keypoints[..., list(mirrored), :], keypoints)
    return swapped, torch.ones_like(keypoints[..., 0])


@dataclass(frozen=True)
class Corruption:
    """One kind of error. apply: ``(keypoints, level, generator, skeleton) -> (keypoints, confidence)``; label: what the
    level is, with its unit."""

    label: str
    apply: Callable[[Tensor, float, torch.Generator, Skeleton], Detected]


CORRUPTIONS = {
    "jitter": Corruption("jitter [px]", lambda k, level, g, _: jitter(k, level, g)),
    "occlusion": Corruption("share of keypoints occluded", lambda k, level, g, _: occlusion(k, level, g)),
    "outliers": Corruption("share of keypoints displaced", lambda k, level, g, _: outliers(k, level, g)),
    "side swaps": Corruption(
        "share of frames with sides exchanged",
        lambda k, level, g, skeleton: side_swaps(k, level, g, mirrored=skeleton.mirrored_joints()),
    ),
}


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected 0 to 1")
