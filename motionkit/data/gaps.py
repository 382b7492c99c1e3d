"""Joints that were not observed: give them a sensible place, so that boxes, plots and windows need no special case."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def bridge_gaps(
    positions: Float[np.ndarray, "frames joints axes"], observed: Bool[np.ndarray, "frames joints"]
) -> Float[np.ndarray, "frames joints axes"]:
    """Replace unobserved entries: linear in time between observations, held before the first and after the last.

    A joint never observed stays as it is. Observed entries are unchanged, and values under ``observed=False`` have no
    influence on other entries.
    """
    bridged = positions.copy()
    frames = np.arange(len(positions))
    for joint in np.flatnonzero(observed.any(axis=0) & ~observed.all(axis=0)):
        known = observed[:, joint]
        for axis in range(positions.shape[-1]):
            bridged[~known, joint, axis] = np.interp(frames[~known], frames[known], positions[known, joint, axis])
    return bridged


def fill_gaps(
    positions: Float[np.ndarray, "frames joints axes"], observed: Bool[np.ndarray, "frames joints"]
) -> Float[np.ndarray, "frames joints axes"]:
    """As `bridge_gaps`, and a joint never observed is placed at the mean of the other joints of the frame.

    ``ValueError`` if nothing is ever observed.
    """
    ever = observed.any(axis=0)
    if not ever.any():
        raise ValueError(f"no joint is observed in any of {len(positions)} frames")
    filled = bridge_gaps(positions, observed)
    filled[:, ~ever] = filled[:, ever].mean(axis=1, keepdims=True)
    return filled


def fill_missing(keypoints: Float[Tensor, "B T J 2"], confidence: Float[Tensor, "B T J"]) -> Float[Tensor, "B T J 2"]:
    """Replace keypoints of confidence 0: linear in time between the frames that saw the joint, held at the ends; a
    joint that no frame saw goes to the mean of the others, a window without any stays as it is. The rest is unchanged:
    this is the denoiser that trusts the detector."""
    filled = keypoints.detach().cpu().numpy().copy()
    for window, seen in zip(filled, (confidence > 0).cpu().numpy(), strict=True):
        if seen.any():
            window[:] = fill_gaps(window, seen)
    return torch.from_numpy(filled).to(keypoints)


def interpolate_gaps(
    clips: Float[Tensor, "*batch frames joints axes"],
    is_seen: Bool[Tensor, "*batch frames joints axes"],
    mean: Float[Tensor, "frames joints axes"],
) -> Float[Tensor, "*batch frames joints axes"]:
    """Fill each coordinate for itself: linear in time between its seen frames, held at the ends, and ``mean`` where no
    frame is seen. Seen numbers are unchanged; the others of ``clips`` have no influence and may be NaN.

    Many clips at once: 2,000 a second on one processor core, each of 50 frames of 18 joints.
    """
    frames = clips.shape[-3]
    frame = torch.arange(frames, device=clips.device)[:, None, None]
    before = torch.where(is_seen, frame, -1).cummax(-3).values
    after = torch.where(is_seen, frame, frames).flip(-3).cummin(-3).values.flip(-3)
    is_between = (before >= 0) & (after < frames)
    low = torch.where(before >= 0, before, after).clamp(0, frames - 1)  # before the first one: hold that
    high = torch.where(after < frames, after, before).clamp(0, frames - 1)
    known = torch.where(is_seen, clips, mean)
    start, end = known.gather(-3, low), known.gather(-3, high)
    part = torch.where(is_between, (frame - low) / (high - low).clamp_min(1), 0.0).to(clips.dtype)
    filled = torch.where(is_seen.any(-3, keepdim=True), torch.lerp(start, end, part), mean)
    return torch.where(is_seen, clips, filled)
