"""Heatmap drawing side by side with the methods others use, on one thread: ``python tests/bench/bench_heatmaps.py``.

Each method draws the same keypoints, then everything it returns is summed: memory that was allocated but never touched
would otherwise be paid for by the reader. The peers are written from the description of what they do:
- windows: PYSKL's way, numpy, one keypoint at a time, 3 sigma around it, the larger value kept; limbs likewise, with
  the distance to the segment inside the limb's box. Their memory is fresh each time, as theirs is.
- codec: mmpose's MSRA way, numpy, one keypoint at a time, a patch made once and pasted at the rounded keypoint.
- kornia: ``render_gaussian2d``, torch, normalized to sum 1; limbs it has none.
Ours is exact to float32 (5.8 sigma), theirs are cut at 3 sigma. "Erasing" is told what the reused memory shows.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from itertools import pairwise

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from kornia.geometry.subpix import render_gaussian2d
from machine import alternate, fill_fresh_numpy, fill_fresh_torch, print_constants

from motionkit.data.skeleton import COCO_17
from motionkit.representation.heatmaps import (
    fit_to_box,
    joints_to_projections,
    keypoints_to_heatmaps,
    limbs_to_heatmaps,
    limbs_to_projections,
)

FRAMES, SIGMAS = 64, (0.75, 2.0)
LIMBS = COCO_17.limbs[:17]

# A standing person in metres, in the order of COCO-17.
STANDING = [
    (0.0, 1.62), (-0.03, 1.66), (0.03, 1.66), (-0.08, 1.63), (0.08, 1.63), (-0.19, 1.42), (0.19, 1.42),
    (-0.25, 1.13), (0.25, 1.13), (-0.27, 0.88), (0.27, 0.88), (-0.1, 0.93), (0.1, 0.93),
    (-0.11, 0.5), (0.11, 0.5), (-0.11, 0.08), (0.11, 0.08),
]  # fmt: skip


def walker(frames: int, size: int) -> torch.Tensor:
    """(frames, 17, 2) keypoints in pixels: arms and legs swing, the body moves on."""
    keypoints = torch.tensor(STANDING).repeat(frames, 1, 1)
    phase = torch.arange(frames) * (2 * math.pi / 30)
    for left, reach in ((7, 0.1), (9, 0.3), (13, 0.15), (15, 0.3)):
        keypoints[:, left, 0] += reach * phase.sin()
        keypoints[:, left + 1, 0] -= reach * phase.sin()
    keypoints[..., 0] += 0.4 * torch.arange(frames)[:, None] / frames
    return fit_to_box(keypoints, size, y_up=True)


def windows_keypoints(keypoints: np.ndarray, size: int, sigma: float) -> np.ndarray:
    out = np.zeros((*keypoints.shape[:2], size, size), dtype=np.float32)
    for frame, joint in np.ndindex(*keypoints.shape[:2]):
        x, y = keypoints[frame, joint]
        left, right = max(int(x - 3 * sigma), 0), min(int(x + 3 * sigma) + 1, size)
        top, bottom = max(int(y - 3 * sigma), 0), min(int(y + 3 * sigma) + 1, size)
        if left >= right or top >= bottom:
            continue
        columns, rows = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)[:, None]
        patch = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
        here = out[frame, joint, top:bottom, left:right]
        np.maximum(here, patch, out=here)
    return out


def windows_limbs(keypoints: np.ndarray, limbs, size: int, sigma: float) -> np.ndarray:
    out = np.zeros((len(keypoints), len(limbs), size, size), dtype=np.float32)
    for frame in range(len(keypoints)):
        for limb, (a, b) in enumerate(limbs):
            start, end = keypoints[frame, a], keypoints[frame, b]
            left, top = np.maximum((np.minimum(start, end) - 3 * sigma).astype(int), 0)
            right, bottom = np.minimum((np.maximum(start, end) + 3 * sigma).astype(int) + 1, size)
            if left >= right or top >= bottom:
                continue
            x = np.arange(left, right, dtype=np.float32) + np.zeros((bottom - top, 1), np.float32)
            y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.zeros((1, right - left), np.float32)
            to_start = (x - start[0]) ** 2 + (y - start[1]) ** 2
            to_end = (x - end[0]) ** 2 + (y - end[1]) ** 2
            squared_length = max(float(((end - start) ** 2).sum()), 1e-6)
            at = ((x - start[0]) * (end[0] - start[0]) + (y - start[1]) * (end[1] - start[1])) / squared_length
            off_x, off_y = x - start[0] - at * (end[0] - start[0]), y - start[1] - at * (end[1] - start[1])
            squared = np.where(at <= 0, to_start, np.where(at >= 1, to_end, off_x**2 + off_y**2))
            here = out[frame, limb, top:bottom, left:right]
            np.maximum(here, np.exp(-squared / (2 * sigma**2)), out=here)
    return out


def codec_keypoints(keypoints: np.ndarray, size: int, sigma: float) -> np.ndarray:
    out = np.zeros((*keypoints.shape[:2], size, size), dtype=np.float32)
    radius = int(3 * sigma)
    steps = np.arange(-radius, radius + 1, dtype=np.float32)
    patch = np.exp(-(steps**2 + steps[:, None] ** 2) / (2 * sigma**2))
    for frame, joint in np.ndindex(*keypoints.shape[:2]):
        x, y = (int(v + 0.5) for v in keypoints[frame, joint])
        left, right, top, bottom = (
            max(x - radius, 0),
            min(x + radius + 1, size),
            max(y - radius, 0),
            min(y + radius + 1, size),
        )
        if left >= right or top >= bottom:
            continue
        here = out[frame, joint, top:bottom, left:right]
        px, py = left - x + radius, top - y + radius
        np.maximum(here, patch[py : py + bottom - top, px : px + right - left], out=here)
    return out


def kornia_keypoints(keypoints: torch.Tensor, size: int, sigma: float) -> torch.Tensor:
    count = keypoints.shape[0] * keypoints.shape[1]
    std = torch.full((count, 1, 2), sigma)
    return render_gaussian2d(keypoints.reshape(count, 1, 2), std, (size, size), normalized_coordinates=False)


def check(drawn: torch.Tensor, peer: np.ndarray) -> None:
    """The peers draw the same picture, up to what they cut off and, for the codec, half a pixel."""
    assert np.abs(drawn.numpy() - peer).max() < 0.012, "a peer draws another picture"


def print_beside_peers(times: dict[str, tuple[float, float]], peers: Iterable[str]) -> None:
    fastest = [min(times[name][k] for name in peers) for k in (0, 1)]
    print(f"  {'draw and sum, ms':22s} {'min':>8s} {'median':>8s}   times as fast as the fastest peer (min, median)")
    for name, (low, middle) in times.items():
        print(f"  {name:22s} {low:8.2f} {middle:8.2f}   {fastest[0] / low:6.2f} {fastest[1] / middle:6.2f}")


def side_by_side(size: int, sigma: float, limbs: bool, seconds: float) -> None:
    keypoints = walker(FRAMES, size)
    array = keypoints.numpy()
    out = torch.empty(FRAMES, 17, size, size)
    if limbs:

        def ours(**options):
            return limbs_to_heatmaps(keypoints, LIMBS, size, sigma, **options)

        peers = {"windows (PYSKL)": lambda: windows_limbs(array, LIMBS, size, sigma)}
        check(ours(), peers["windows (PYSKL)"]())
    else:

        def ours(**options):
            return keypoints_to_heatmaps(keypoints, size, sigma, **options)

        peers = {
            "windows (PYSKL)": lambda: windows_keypoints(array, size, sigma),
            "codec (mmpose)": lambda: codec_keypoints(array, size, sigma),
            "kornia": lambda: kornia_keypoints(keypoints, size, sigma),
        }
        check(ours(), peers["windows (PYSKL)"]())
    extra = {}
    if not limbs:
        loop, turn = keypoints_to_heatmaps(keypoints, size, sigma), [keypoints, keypoints.flip(0)]

        def erasing() -> torch.Tensor:
            turn.reverse()
            return keypoints_to_heatmaps(turn[0], size, sigma, out=loop, shown=turn[1])

        extra["motionkit, erasing"] = lambda: erasing().sum()
    read = alternate(
        {
            **{name: lambda draw=draw: draw().sum() for name, draw in peers.items()},
            "motionkit, fresh": lambda: ours().sum(),
            "motionkit, reused": lambda: ours(out=out).sum(),
            **extra,
        },
        seconds,
    )
    write = alternate(
        {
            "write, reused": lambda: out.fill_(0.5),
            "ours, reused": lambda: ours(out=out),
            "write, fresh torch": lambda: fill_fresh_torch(tuple(out.shape)),
            "write, fresh numpy": lambda: fill_fresh_numpy(tuple(out.shape)),
            "ours, fresh": lambda: ours(),
        },
        seconds,
    )
    gigabytes = out.numel() * 4e-9
    what = "limbs" if limbs else "keypoints"
    print(f"\n{what}: {FRAMES} x 17 x {size} x {size}, sigma {sigma} px ({gigabytes * 1e3:.0f} MB)")
    print_beside_peers(read, peers)
    print(f"  {'draw or write, ms':22s} {'min':>8s} {'median':>8s}   GB/s (min)   times the plain write (min, median)")
    plain = {"ours, reused": "write, reused", "ours, fresh": "write, fresh torch"}
    for name, (low, middle) in write.items():
        floor = write[plain.get(name, name)]
        print(
            f"  {name:22s} {low:8.2f} {middle:8.2f}   {gigabytes / low * 1e3:6.1f}"
            f"       {low / floor[0]:6.2f} {middle / floor[1]:6.2f}"
        )


def frame_by_frame(size: int, sigma: float, limbs: bool, seconds: float) -> None:
    """As a data loader does it: one frame is drawn and read before the next one, so that it never leaves the cache."""
    keypoints = walker(FRAMES, size)
    frames, arrays = keypoints.split(1), np.split(keypoints.numpy(), FRAMES)
    memory = torch.zeros(1, 17, size, size)

    def ours(frame: torch.Tensor, **options) -> torch.Tensor:
        if limbs:
            return limbs_to_heatmaps(frame, LIMBS, size, sigma, **options)
        return keypoints_to_heatmaps(frame, size, sigma, **options)

    def erasing() -> None:
        keypoints_to_heatmaps(frames[-1], size, sigma, out=memory).sum()
        for shown, frame in pairwise(frames):
            keypoints_to_heatmaps(frame, size, sigma, out=memory, shown=shown).sum()

    peers = {"windows (PYSKL)": lambda: [windows_limbs(a, LIMBS, size, sigma).sum() for a in arrays]}
    if not limbs:
        peers = {
            "windows (PYSKL)": lambda: [windows_keypoints(a, size, sigma).sum() for a in arrays],
            "codec (mmpose)": lambda: [codec_keypoints(a, size, sigma).sum() for a in arrays],
        }
    mine = {
        "motionkit, fresh": lambda: [ours(frame).sum() for frame in frames],
        "motionkit, reused": lambda: [ours(frame, out=memory).sum() for frame in frames],
    }
    times = alternate({**peers, **mine, **({} if limbs else {"motionkit, erasing": erasing})}, seconds)
    what = "limbs" if limbs else "keypoints"
    print(f"\n{what}, frame by frame: {FRAMES} x (17 x {size} x {size}), sigma {sigma} px")
    print_beside_peers(times, peers)


def training_batches(seconds: float) -> None:
    """What a training step asks for: 8 clips of 16 frames at 64 px, sigma 0.75."""
    size, clips, frames, sigma = 64, 8, 16, 0.75
    flat = walker(frames, size).repeat(clips, 1, 1, 1)
    solid = torch.cat([flat, flat[..., :1].flip(-2) * 0.2 + 25], dim=-1)
    layers, merged, views = (torch.empty(clips, c, frames, size, size) for c in (len(LIMBS), 1, 3))
    times = alternate(
        {
            f"{len(LIMBS)} limb channels": lambda: limbs_to_heatmaps(flat, LIMBS, size, sigma, video=True, out=layers),
            "limbs merged": lambda: limbs_to_heatmaps(flat, LIMBS, size, sigma, merge=True, video=True, out=merged),
            "limbs, 3 projections": lambda: limbs_to_projections(solid, LIMBS, size, sigma, video=True, out=views),
            "joints, 3 projections": lambda: joints_to_projections(solid, size, sigma, video=True, out=views),
        },
        seconds,
    )
    print(f"\ntraining batch: {clips} clips x {frames} frames, {size} px, reused memory, ms (min, median)")
    for name, (low, middle) in times.items():
        print(f"  {name:22s} {low:8.2f} {middle:8.2f}")


def main(seconds: float = 1.5) -> None:
    torch.set_num_threads(1)
    print_constants()
    for sigma in SIGMAS:
        for size, limbs in ((64, False), (128, False), (128, True)):
            side_by_side(size, sigma, limbs, seconds)
            frame_by_frame(size, sigma, limbs, seconds)
    training_batches(seconds)


if __name__ == "__main__":
    main()
