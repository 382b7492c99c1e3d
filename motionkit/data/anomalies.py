"""Windows that look like motion and are none: what a monitor of motion should notice.

Every function takes windows of usual motion and a seed, and returns changed copies with their labels. All but the
jitter keep each pose as it was recorded: only their order, speed or sides are wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from motionkit.data.windows import Windows, resample_clip


def backward(windows: Windows, seed: int) -> Windows:
    """The last frame first. Symmetric motion looks alike both ways: not every such window can be told."""
    return _with_frames(windows, torch.arange(windows.num_frames).flip(0).expand(len(windows), -1))


def shuffled(windows: Windows, seed: int) -> Windows:
    """The frames of each window in an order of its own, drawn at random."""
    keys = torch.rand(len(windows), windows.num_frames, generator=torch.Generator().manual_seed(seed))
    return _with_frames(windows, keys.argsort(1))


def fast(windows: Windows, seed: int, factor: int = 2) -> Windows:
    """As a recording whose frame rate is taken for one ``factor`` times lower: each pose moves ``factor`` times as far.

    A window goes on in its clip, and starts earlier where the clip ends before; those of clips that are shorter than
    ``factor`` windows are left out. Raises ``ValueError`` if all are.
    """
    clips = {}
    for index in windows.clip_index.unique().tolist():
        clip = resample_clip(windows.clips[index], windows.fps)
        if clip.num_frames >= factor * windows.num_frames - factor + 1:
            clips[index] = clip
    chosen = torch.tensor([index in clips for index in windows.clip_index.tolist()])
    if not chosen.any():
        raise ValueError(f"no clip is long enough for windows of {windows.num_frames} frames {factor} times as fast")
    clip_index, start = windows.clip_index[chosen], windows.start[chosen].clone()
    positions, confidence = torch.empty_like(windows.positions[chosen]), None
    if windows.confidence is not None:
        confidence = torch.ones_like(windows.confidence[chosen])
    for row, index in enumerate(clip_index.tolist()):
        clip, span = clips[index], factor * (windows.num_frames - 1) + 1
        start[row] = min(int(start[row]), clip.num_frames - span)
        frames = slice(int(start[row]), int(start[row]) + span, factor)
        positions[row] = torch.tensor(clip.positions[frames])
        if confidence is not None and clip.confidence is not None:
            confidence[row] = torch.tensor(clip.confidence[frames])
    return replace(windows, positions=positions, confidence=confidence, clip_index=clip_index, start=start)


def slow(windows: Windows, seed: int) -> Windows:
    """As a recording at twice the frame rate: the first half of each window, with the poses halfway put in between."""
    count = windows.num_frames
    before = torch.arange(count) // 2
    after = (torch.arange(count) + 1) // 2
    positions = (windows.positions[:, before] + windows.positions[:, after]) / 2
    if windows.confidence is None:
        return replace(windows, positions=positions)
    confidence = torch.minimum(windows.confidence[:, before], windows.confidence[:, after])
    return replace(windows, positions=positions, confidence=confidence)


def sides_swapped(windows: Windows, seed: int) -> Windows:
    """Left taken for right, arms and legs, as detectors do with a person seen from behind. No mirror image."""
    order = list(windows.skeleton.mirrored_joints())
    confidence = None if windows.confidence is None else windows.confidence[:, :, order]
    return replace(windows, positions=windows.positions[:, :, order], confidence=confidence)


def jittered(windows: Windows, seed: int, sigma_m: float = 0.03) -> Windows:
    """Each joint of each frame displaced by Gaussian noise, ``sigma_m`` metres along each axis."""
    noise = torch.randn(windows.positions.shape, generator=torch.Generator().manual_seed(seed))
    return replace(windows, positions=windows.positions + sigma_m * noise)


ANOMALIES: dict[str, Callable[[Windows, int], Windows]] = {
    "backward": backward,
    "frames shuffled": shuffled,
    "twice as fast": fast,
    "half as fast": slow,
    "sides swapped": sides_swapped,
    "joints jittered": jittered,
}


def _with_frames(windows: Windows, frames: Tensor) -> Windows:
    """The windows with these frames, (windows, frames) indices."""
    rows = torch.arange(len(windows))[:, None]
    confidence = None if windows.confidence is None else windows.confidence[rows, frames]
    return replace(windows, positions=windows.positions[rows, frames], confidence=confidence)
