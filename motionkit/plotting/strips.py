"""Several motions as rows of poses, all in one measure: what a model draws, beside one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from motionkit.data.skeleton import Skeleton
from motionkit.plotting import colors
from motionkit.plotting.motion import limb_sides, side_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure, SubFigure


def pose_rows(
    figure: Figure | SubFigure,
    motions: Mapping[str, Any],
    skeleton: Skeleton,
    *,
    num_poses: int | None = None,
    fps: float | None = None,
    azimuth_deg: float = 35.0,
) -> dict[str, list[LineCollection]]:
    """A row of poses a motion, its title on the left; poses of a column are of one time, and a metre is as long in
    every row.

    motions: title -> positions (frames, joints, 3) in metres, Y up; all of one length.
    num_poses: so many frames, evenly spread; by default as many as the figure is wide, at its height.
    fps: the axis then reads in seconds, else in frames.
    azimuth_deg: where the viewer stands, as in ``play``; the projection is orthographic.

    Returns the bodies, one ``LineCollection`` a pose, by row. Raises ``ValueError`` for no motion, or naming the one
    whose shape does not fit.
    Source: paper 4 (HG-VAE), Figures 3 and 5.
    """
    from matplotlib.collections import LineCollection

    motions = {title: np.asarray(motion, dtype=np.float64) for title, motion in motions.items()}
    if not motions:
        raise ValueError("pose_rows: there are no motions")
    length = len(next(iter(motions.values())))
    for title, motion in motions.items():
        if motion.shape != (length, skeleton.num_joints, 3):
            raise ValueError(
                f"motion {title!r} has shape {motion.shape}; expected ({length}, {skeleton.num_joints}, 3)"
            )
    flat = np.stack([side_view(motion, math.radians(azimuth_deg)) for motion in motions.values()])
    flat[..., 0] -= (flat[..., 0].min(-1, keepdims=True) + flat[..., 0].max(-1, keepdims=True)) / 2
    low, high = flat[..., 1].min(), flat[..., 1].max()
    spacing = max(1.12 * float(np.ptp(flat[..., 0], axis=-1).max()), 0.3 * (high - low))
    width, aside = _room(figure, list(motions), 1.08 * (high - low))
    if num_poses is None:
        num_poses = max(2, int((width - aside) / spacing))
    frames = np.linspace(0, length - 1, min(num_poses, length)).round().astype(int)
    flat = flat[:, frames]
    flat[..., 0] += spacing * np.arange(len(frames))[:, None]

    limbs, shades = np.asarray(skeleton.limbs), [colors.SIDES[side] for side in limb_sides(skeleton)]
    rows = figure.subplots(len(motions), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    bodies = {}
    for axes, (title, poses) in zip(rows, zip(motions, flat, strict=True), strict=True):
        artists = [
            LineCollection(pose[limbs], colors=shades, linewidths=1.6, capstyle="round", joinstyle="round")
            for pose in poses
        ]
        bodies[title] = [axes.add_collection(artist) for artist in artists]
        axes.text(-0.6 * spacing, (low + high) / 2, title, ha="right", va="center", fontsize=9.5, color=colors.INK)
    frame_rows(rows, frames, spacing, (low, high), fps, aside)
    return bodies


def frame_rows(
    rows: Sequence[Axes],
    frames: Int[np.ndarray, "poses"],
    spacing: float,
    heights: tuple[float, float],
    fps: float | None,
    aside: float = 0.0,
) -> None:
    """Axes of poses below each other, without edges: the frames stand side by side so far apart, named by time below.

    spacing, heights, aside: in metres; ``aside`` is room for titles on the left.
    """
    low, high = heights
    for axes in rows:
        axes.set_xlim(-0.55 * spacing - aside, (len(frames) - 0.45) * spacing)
        axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
        axes.set_aspect("equal")
        axes.set_yticks([])
        axes.tick_params(length=0, colors=colors.MUTED, labelsize=8.5)
        for edge in axes.spines.values():
            edge.set_visible(False)
    named = [f"{frame / fps:.2f}" if fps else str(frame) for frame in frames]
    rows[-1].set_xticks(np.arange(len(frames)) * spacing, named)
    rows[-1].set_xlabel("time [s]" if fps else "frame")


def _room(figure: Figure | SubFigure, titles: Sequence[str], height: float) -> tuple[float, float]:
    """How many metres the figure is wide where rows are so many metres high, and how many of them titles take."""
    inches = figure.bbox.width / figure.dpi - 0.15, figure.bbox.height / figure.dpi - 0.5  # less margins and time axis
    scale = max(inches[1] / len(titles) - 0.08, 0.1) / height  # between rows is a little
    return inches[0] / scale, (0.085 * max(map(len, titles)) + 0.05) / scale
