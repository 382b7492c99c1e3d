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
