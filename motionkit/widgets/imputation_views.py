"""The pictures of the imputation explorer: a frame as truth, as what is left of it and as filled in; one coordinate
over time; and how far off and how usual the clip is."""

from __future__ import annotations

import html
import math

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from motionkit.data.skeleton import Skeleton
from motionkit.metrics.usual_levels import UsualLevels
from motionkit.plotting import colors
from motionkit.plotting.motion import limb_sides, side_view
from motionkit.widgets.drawings import DOTTED, Panel, Shape, ellipse
from motionkit.widgets.imputation_study import Filling

SIZE_PX = (900, 300)
FILLED = colors.GREEN  # neither of the sides' colors
NUM_DEVIATIONS = 2  # that discs and bands reach to
AXES = "xyz"

_POSE_PX, _TOP_PX, _HEIGHT_PX = 170, 24, 268  # a pose's width, and where all panels begin and poses end
_PALE = "#C4C9D0"
_JOINT_PX = 5.0


def filling_panels(
    filling: Filling,
    spread: Float[Tensor, "frames joints 3"] | None,
    skeleton: Skeleton,
    fps: float,
    *,
    frame: int,
    joint: int,
    axis: int,
    azimuth_deg: float,
) -> list[Panel]:
    """Three poses of one frame, seen from the side, and a coordinate of one joint over time.

    spread: standard deviations in metres; discs and bands reach to ``NUM_DEVIATIONS`` of them.
    azimuth_deg: where the viewer stands, as in ``play``.
    """
    azimuth = math.radians(azimuth_deg)
    whole = filling.truth.double().numpy()
    low, high = _sight(whole)
    true, filled = (side_view(clip[frame : frame + 1].double().numpy(), azimuth)[0]
                    for clip in (filling.truth, filling.filled))  # fmt: skip
    is_lost = filling.is_lost[frame].numpy()
    shades = [colors.SIDES[side] for side in limb_sides(skeleton)]
    left = _limbs(true, skeleton, shades, ~is_lost) + _dots(true, skeleton, ~is_lost)
    found = _limbs(true, skeleton, [_PALE] * len(shades), width_px=5.0)
    if spread is not None:
        found += _discs(filled, spread[frame].double().numpy(), is_lost, azimuth)
    found += _limbs(filled, skeleton, shades) + [_dot(filled[at], FILLED) for at in np.flatnonzero(is_lost)]
    poses = {"truth": _limbs(true, skeleton, shades), "what is left": left, "filled in, over the truth": found}
    panels = [
        Panel((number * _POSE_PX, _TOP_PX, _POSE_PX, _HEIGHT_PX), low, high, tuple(shapes), title=title)
        for number, (title, shapes) in enumerate(poses.items())
    ]
    name = f"{skeleton.joints[joint]}, {AXES[axis]} [m]"
    return [*panels, _curves(filling, spread, fps, frame, (slice(None), joint, axis), name)]


def scores_table(filling: Filling, scores: Float[Tensor, "levels clips"], usual: UsualLevels | None) -> str:
    """Errors and log p(z|x) of start, filled clip and truth, the columns of ``scores``, as an HTML table.

    usual: by which a clip is called usual or not; without it nothing is said of that, and without a finite threshold
        there is no verdict.
    """
    rows = {"start": filling.start, "filled": filling.filled, "truth": filling.truth}
    levels = [f"z{level}" for level in range(len(scores))]
    heads = ["", "RMSE [mm]", "log p(z|x) [nats]", *levels, *([] if usual is None else ["balanced", "verdict"])]
    lines, is_judged = [], usual is not None and math.isfinite(usual.threshold)
    totals = [] if usual is None else usual.total(scores).tolist()
    verdicts = [_verdict(is_unusual) for is_unusual in usual.is_unusual(scores).tolist()] if is_judged else ["–"] * 3
    for row, ((name, clip), parts) in enumerate(zip(rows.items(), scores.t().tolist(), strict=True)):
        error, total = filling.rmse_mm(clip), sum(parts)
        told = ["–" if math.isnan(error) else f"{error:.1f}", f"{total:.1f}", *(f"{part:.1f}" for part in parts)]
        cells = [f"<b>{name}</b>", *(text.replace("-", "−") for text in told)]
        if usual is not None:
            cells += [f"{totals[row]:.1f}".replace("-", "−"), verdicts[row]]
        lines.append(cells)
    cell = 'style="padding:1px 10px;text-align:right;border:0"'
    head = "".join(f'<td {cell}><span style="color:{colors.MUTED}">{html.escape(text)}</span></td>' for text in heads)
    body = "".join("<tr>" + "".join(f"<td {cell}>{text}</td>" for text in line) + "</tr>" for line in lines)
    note = "RMSE of what is missing; log p(z|x) at the posteriors' means, in all and by level"
    if usual is not None:
        note += ", balanced: levels in deviations of usual clips; "
        if is_judged:
            note += f"unusual at or below {-usual.threshold:.1f}".replace("-", "−")
        else:
            note += "too few usual clips for a verdict"
    return (
        f'<div style="line-height:1.5"><table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
        f'<tr>{head}</tr>{body}</table><span style="color:{colors.MUTED}">{note}</span></div>'
    )


def _verdict(is_unusual: bool) -> str:
    word, color = ("unusual", colors.VERMILION) if is_unusual else ("usual", FILLED)
    return f'<b style="color:{color}">{word}</b>'


def _sight(whole: Float[np.ndarray, "frames joints 3"]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Lower left and upper right corner of what a pose's panel shows, from any side and at any time the same."""
    reach = float(np.linalg.norm(whole[..., ::2], axis=-1).max())
    floor, top = float(whole[..., 1].min()), float(whole[..., 1].max())
    metres_a_px = 1.08 * max(2 * reach / _POSE_PX, (top - floor) / _HEIGHT_PX, 1e-3)
    half = 0.5 * metres_a_px * np.array([_POSE_PX, _HEIGHT_PX])
    middle = np.array([0.0, (floor + top) / 2])
    return tuple((middle - half).tolist()), tuple((middle + half).tolist())


def _limbs(
    pose: Float[np.ndarray, "joints xy"],
    skeleton: Skeleton,
    shades: list[str],
    is_there: Bool[np.ndarray, "joints"] | None = None,
    width_px: float = 3.0,
) -> list[Shape]:
    """A line a limb; dotted and pale where an end is not there, and beneath the others."""
    whole, broken = [], []
    for limb, shade in zip(skeleton.limbs, shades, strict=True):
        if is_there is None or is_there[list(limb)].all():
            whole.append(Shape(pose[list(limb)], shade, width_px))
        else:
            broken.append(Shape(pose[list(limb)], colors.DEAD, 1.4, dashes=DOTTED))
    return broken + whole


def _dots(
    pose: Float[np.ndarray, "joints xy"], skeleton: Skeleton, is_there: Bool[np.ndarray, "joints"]
) -> list[Shape]:
    """The joints that are there: of those whose limbs are all broken it is all there is."""
    sides = skeleton.sides()
    return [_dot(pose[joint], colors.SIDES[sides[joint]]) for joint in np.flatnonzero(is_there)]


def _dot(at: Float[np.ndarray, "xy"], color: str) -> Shape:
    return Shape(np.stack([at, at]), color, _JOINT_PX)


def _discs(
    pose: Float[np.ndarray, "joints xy"],
    spread: Float[np.ndarray, "joints 3"],
    is_lost: Bool[np.ndarray, "joints"],
    azimuth: float,
) -> list[Shape]:
    """What the spread covers, as seen from there. Coordinates are taken as independent: the axes stay upright."""
    x, y, z = (NUM_DEVIATIONS * spread).T
    radii = np.stack([np.hypot(x * math.cos(azimuth), z * math.sin(azimuth)), y], axis=1)
    return [ellipse(pose[joint], radii[joint], FILLED, 0.22) for joint in np.flatnonzero(is_lost)]


def _curves(filling: Filling, spread: Tensor | None, fps: float, frame: int, which: tuple, name: str) -> Panel:
    times = np.arange(len(filling.truth)) / fps
    truth, start, filled = (clip[which].double().numpy() for clip in (filling.truth, filling.start, filling.filled))
    margin = np.zeros_like(filled) if spread is None else NUM_DEVIATIONS * spread[which].double().numpy()
    ends = np.concatenate([truth, start, filled - margin, filled + margin])
    room = max(0.02, 0.06 * float(np.ptp(ends)))
    low, high = (
        (float(times[0] - 0.5 / fps), float(ends.min() - room)),
        (float(times[-1] + 0.5 / fps), float(ends.max() + room)),
    )

    def line(values: np.ndarray, color: str, width_px: float, **look: object) -> Shape:
        return Shape(np.stack([times, values], axis=1), color, width_px, **look)

    shapes = [_gap(low, high, *ends, fps) for ends in _runs(~filling.is_seen[which].numpy())]
    if spread is not None:
        band = np.concatenate([filled - margin, (filled + margin)[::-1]])
        shapes.append(Shape(np.stack([np.concatenate([times, times[::-1]]), band], axis=1), FILLED, alpha=0.22))
    shapes += [line(start, colors.MUTED, 1.2, dashes=DOTTED), line(truth, _PALE, 4.5), line(filled, FILLED, 1.8)]
    now = np.array([[times[frame], low[1]], [times[frame], high[1]]])
    shapes.append(Shape(now, colors.INK, 0.8))
    legend = (("truth", colors.GRAY), ("start, dotted", colors.MUTED),
              (f"filled in ± {NUM_DEVIATIONS} SD" if spread is not None else "filled in", FILLED))  # fmt: skip
    left = 3 * _POSE_PX + 58
    box = (left, _TOP_PX, SIZE_PX[0] - left - 12, _HEIGHT_PX - 34)
    return Panel(box, low, high, tuple(shapes), ("time [s]", name), legend=legend)


def _runs(is_lost: Bool[np.ndarray, "frames"]) -> list[tuple[int, int]]:
    """First frame and the one after the last of each stretch that is lost."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_lost, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _gap(low: tuple[float, float], high: tuple[float, float], first: int, end: int, fps: float) -> Shape:
    left, right = (first - 0.5) / fps, (end - 0.5) / fps
    corners = np.array([[left, low[1]], [right, low[1]], [right, high[1]], [left, high[1]]])
    return Shape(corners, colors.RULE, alpha=0.45)
