"""Figures of motion that was filled in and of how usual it is: poses over the truth, and errors and scores over the
share that is missing. Each takes a figure or an axis and plain arrays and returns artists.

Source: paper 4 (HG-VAE), Figures 1, 4 and 6 to 8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from motionkit.data.skeleton import Skeleton
from motionkit.plotting import colors
from motionkit.plotting.charts import quiet
from motionkit.plotting.motion import limb_sides, side_view
from motionkit.plotting.noise_curves import banded_line, name_at_the_end
from motionkit.plotting.strips import frame_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

_LEAST_M = 0.02  # about the width of a limb as drawn: one with both ends nearer to the truth lies on it
_LABELS = {"MSE": "MSE [m²]", "RMSE": "RMSE [mm]", "MPJPE": "MPJPE [mm]", "change": "change of MSE [%]"}


def imputed_strip(
    figure: Figure | SubFigure,
    truth: Any,
    filled: Mapping[str, Any],
    is_seen: Any,
    skeleton: Skeleton,
    *,
    num_poses: int = 8,
    fps: float | None = None,
    azimuth_deg: float = 35.0,
) -> dict[str, list[LineCollection]]:
    """One clip filled in several ways, a row of poses each: the truth dotted where it differs by 2 cm or more, and a
    ring around each joint that lacks a coordinate.

    truth: (frames, joints, 3) in metres, Y up. filled: title of the row -> as the truth. is_seen: as the truth.
    num_poses: so many frames, evenly spread. fps: the axis then reads in seconds, else in frames.
    azimuth_deg: where the viewer stands, as in ``play``; the projection is orthographic.

    Returns the bodies, one ``LineCollection`` a pose, by row. Raises ``ValueError`` for nothing filled, or for shapes
    that do not fit, naming the row.
    Source: Figure 1, whose colors are green and purple.
    """
    truth, is_seen = np.asarray(truth, dtype=np.float64), np.asarray(is_seen, dtype=bool)
    filled = {title: np.asarray(motion, dtype=np.float64) for title, motion in filled.items()}
    _check_strip(truth, filled, is_seen, skeleton)
    frames = np.linspace(0, len(truth) - 1, min(num_poses, len(truth))).round().astype(int)
    azimuth = math.radians(azimuth_deg)
    true, *others = (side_view(motion[frames], azimuth) for motion in (truth, *filled.values()))
    everything = np.concatenate([true, *others], axis=1)
    middle = (true[..., 0].min(1, keepdims=True) + true[..., 0].max(1, keepdims=True)) / 2
    reach = np.abs(everything[..., 0] - middle).max()
    low, high = everything[..., 1].min(), everything[..., 1].max()
    spacing = max(2.1 * reach, 0.45 * (high - low))
    shift = np.stack([np.arange(len(frames))[:, None] * spacing - middle, np.zeros((len(frames), 1))], axis=-1)

    shades = np.array([colors.SIDES[side] for side in limb_sides(skeleton)])
    is_lost = ~is_seen[frames].all(-1)
    rows = figure.subplots(len(filled), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    bodies = {}
    for axes, (title, motion), flat in zip(rows, filled.items(), others, strict=True):
        is_off = np.linalg.norm(motion[frames] - truth[frames], axis=-1) >= _LEAST_M
        bodies[title] = _poses(axes, flat + shift, true + shift, is_off, is_lost, skeleton, shades)
        axes.set_title(title, loc="left", fontsize=9.5, color=colors.INK, pad=2)
    frame_rows(rows, frames, spacing, (low, high), fps)
    return bodies


def change_curves(
    axes: Axes,
    curves: pd.DataFrame,
    pattern: str,
    metric: str = "change",
    *,
    xlabel: str | None = None,
    ylabel: str | None = None,
    log_shares: bool = False,
    log: bool = False,
    is_from_zero: bool = True,
    is_named: bool = True,
) -> list[Line2D]:
    """The lines of one pattern and one metric over the share that is missing, each named at its right end: means over
    the seeds, within a band of one standard deviation on both sides.

    curves: columns ``pattern``, ``share``, ``seed``, ``method``, ``metric``, ``value``, as ``imputation_curves`` gives
        them. A method keeps its color and marker over the panels of one figure, by its place in ``curves``.
    xlabel, ylabel: by default what the pattern and the metric are, with units.
    log_shares, log: logarithmic axes. On a logarithmic error, bands end at a tenth of their line.
    is_from_zero: an axis of errors begins at 0; without it, where the errors do.
    is_named: without it, name them when all else is drawn, by ``name_at_the_end``.

    Raises ``ValueError`` naming a missing column, or a pattern or metric that the curves do not hold.
    Source: Figures 4 and 8.
    """
    needed = ("pattern", "share", "seed", "method", "metric", "value")
    if missing := [name for name in needed if name not in curves.columns]:
        raise ValueError(f"curves lack the columns {missing}; they have {list(curves.columns)}")
    for column, value in (("pattern", pattern), ("metric", metric)):
        if value not in set(curves[column]):
            there = ", ".join(map(repr, dict.fromkeys(curves[column])))
            raise ValueError(f"curves hold no {column} {value!r}; they hold {there}")
    methods = list(dict.fromkeys(curves["method"]))
    chosen = curves[(curves["pattern"] == pattern) & (curves["metric"] == metric)]
    lines = []
    for method, rows in chosen.groupby("method", sort=False):
        over_seeds = rows.groupby("share")["value"]
        mean, spread = over_seeds.mean(), over_seeds.std().fillna(0).to_numpy()
        share, value = 100 * mean.index.to_numpy(float), mean.to_numpy()
        low = np.maximum(value - spread, 0.1 * value) if log else value - spread
        band = (low, value + spread) if spread.any() else None
        lines.append(banded_line(axes, share, value, band, label=method, place=methods.index(method)))
    _scale(axes, chosen["share"].to_numpy(float), log_shares, log)
    if is_from_zero and not log and chosen["value"].min() >= 0:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel or f"{pattern} missing [%]")
    axes.set_ylabel(ylabel or _LABELS.get(metric, metric))
    if is_named:
        name_at_the_end(axes, lines)
    return lines


def error_panels(figure: Figure, curves: pd.DataFrame) -> list[Line2D]:
    """Of each pattern the change against means, and below it the error in millimetres on a logarithmic axis: two rows
    of ``change_curves``. Returns the lines. Raises as ``change_curves``."""
    patterns = list(dict.fromkeys(curves["pattern"]))
    rows = figure.subplots(2, len(patterns), squeeze=False)
    looks = ({"metric": "change"}, {"metric": "RMSE", "log": True})
    return [
        line
        for row, look in zip(rows, looks, strict=True)
        for axes, pattern in zip(row, patterns, strict=True)
        for line in change_curves(axes, curves, pattern, **look)
    ]


def change_panels(
    figure: Figure, curves: pd.DataFrame, column: str, metric: str = "change", **looks: Any
) -> dict[tuple[str, Any], list[Line2D]]:
    """``change_curves`` in a panel for each pattern (rows) and each value of one more column of the curves (columns),
    such as the predictor; both in the order of the curves.

    looks: as of ``change_curves``. Returns the lines by pattern and value. Raises as ``change_curves``, and
    ``ValueError`` where the curves lack the column.
    """
    if missing := [name for name in ("pattern", column) if name not in curves.columns]:
        raise ValueError(f"curves lack the columns {missing}; they have {list(curves.columns)}")
    patterns, values = (list(dict.fromkeys(curves[name])) for name in ("pattern", column))
    panels = figure.subplots(len(patterns), len(values), squeeze=False)
    lines = {}
    for row, pattern in zip(panels, patterns, strict=True):
        for axes, value in zip(row, values, strict=True):
            axes.set_title(str(value), fontsize=10.5, color=colors.INK)
            chosen = curves[curves[column] == value]
            lines[pattern, value] = change_curves(axes, chosen, pattern, metric, is_named=False, **looks)
    figure.draw_without_rendering()  # once: it takes as long as all panels together
    for axes, drawn in zip(panels.flat, lines.values(), strict=True):
        name_at_the_end(axes, drawn, is_laid_out=True)
    return lines


def band_panels(
    figure: Figure,
    truth: Mapping[str, Any],
    draws: Any,
    is_seen: Any,
    skeleton: Skeleton,
    *,
    level: float,
    fps: float,
) -> dict[str, tuple[int, int]]:
    """What could as well be there, over time: a panel for each clip, of the coordinate with most at stake, the frames
    that it lacks times how far it moves in them.

    truth: title -> (frames, joints, 3) in metres. draws: (draws, clips, frames, joints, 3), the clips in the order of
    the titles. is_seen: (clips, frames, joints, 3). level: share of the draws within the band, from 0 to 1.
    fps: frames per second.

    Returns joint and axis of each panel. Raises ``ValueError`` for other numbers of clips than of titles.
    """
    draws, is_seen = np.asarray(draws, dtype=np.float64), np.asarray(is_seen, dtype=bool)
    if not draws.shape[1] == len(is_seen) == len(truth):
        raise ValueError(f"{len(truth)} titles, {draws.shape[1]} clips drawn and {len(is_seen)} masks: make them equal")
    chosen = {}
    panels = figure.subplots(1, len(truth), squeeze=False)[0]
    for number, (axes, (title, clip)) in enumerate(zip(panels, truth.items(), strict=True)):
        clip, is_lost = np.asarray(clip, dtype=np.float64), ~is_seen[number]
        ranges = np.where(is_lost, clip, -np.inf).max(0) - np.where(is_lost, clip, np.inf).min(0)
        at_stake = is_lost.sum(0) * np.maximum(ranges, 0)
        joint, axis = np.unravel_index(at_stake.argmax(), at_stake.shape)
        chosen[title] = int(joint), int(axis)
        of, lost, times = clip[:, joint, axis], is_lost[:, joint, axis], np.arange(len(clip)) / fps
        drawn = draws[:, number, :, joint, axis]
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        axes.fill_between(times, low, high, color=colors.BLUE, alpha=0.2, linewidth=0, label=f"{level:.0%} of draws")
        axes.plot(times, drawn.mean(0), color=colors.BLUE, linewidth=1.4, label="their mean")
        axes.plot(times, of, ":", color=colors.INK, linewidth=1.4, label="truth")
        axes.plot(times[~lost], of[~lost], "o", color=colors.INK, markersize=2.5, linestyle="", label="seen")
        name = skeleton.joints[joint].replace("_", " ")
        axes.set(xlabel="time [s]", ylabel=f"{name}, {'xyz'[axis]} [m]")
        quiet(axes).set_title(title, fontsize=10.5, color=colors.INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5, frameon=False)
    return chosen


def posterior_curves(
    axes: Axes,
    shares: Any,
    scores: Mapping[str, Any],
    *,
    xlabel: str = "numbers missing [%]",
    ylabel: str = "log p(z|x) [nats]",
    use_quantiles: bool = False,
    log_shares: bool = False,
    log: bool = False,
) -> list[Line2D]:
    """How usual clips are over the share that was missing: the mean over the clips, within a band of one standard
    deviation on both sides; each line is named at its right end.

    shares: in [0, 1]. scores: label, such as start, filled and truth -> (shares, clips), or (clips,) where the share
        has no part in it.
    use_quantiles: the median and the band that holds the middle 68 % instead, which a few clips beyond all measure
        leave alone.
    log_shares, log: logarithmic axes; that of the scores runs to both sides of 0.

    Raises ``ValueError`` for scores of another shape.
    Source: Figure 6, and of scores that are compared with those at the start, Figure 7.
    """
    shares = np.asarray(shares, dtype=float)
    lines = []
    for place, (label, values) in enumerate(scores.items()):
        values = np.asarray(values, dtype=float)
        if values.ndim not in (1, 2) or (values.ndim == 2 and len(values) != len(shares)):
            raise ValueError(f"scores {label!r} have shape {values.shape}; expected ({len(shares)}, clips) or (clips,)")
        values = np.broadcast_to(values, (len(shares), values.shape[-1]))
        low, middle, high = _over_clips(values, use_quantiles)
        lines.append(banded_line(axes, 100 * shares, middle, (low, high), label=label, place=place))
    _scale(axes, shares, log_shares, log=False)
    if log:
        _log_both_ways(axes, np.concatenate([line.get_ydata() for line in lines]))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    name_at_the_end(axes, lines)
    return lines


def level_bars(
    axes: Axes,
    scores: Mapping[str, Any],
    *,
    levels: Sequence[str] | None = None,
    ylabel: str = "log p(z|x) [nats]",
    use_quantiles: bool = False,
    log: bool = False,
) -> list[BarContainer]:
    """What each level of a model contributes to a score: a group of bars a level, in it one a label.

    scores: label -> (levels, clips), drawn as means with standard deviations over the clips; or (levels,), without.
    levels: names, from the top down; by default z0 and on.
    use_quantiles, log: as in ``posterior_curves``.

    Raises ``ValueError`` for nothing to draw, scores that do not have one number of levels, or more labels than there
    are line colors.
    """
    values = {label: np.asarray(part, dtype=float) for label, part in scores.items()}
    if not values or len(values) > len(colors.LINES):
        raise ValueError(f"{len(values)} sets of scores; expected 1 to {len(colors.LINES)}")
    num_levels = len(next(iter(values.values()))) if levels is None else len(levels)
    for label, part in values.items():
        if part.ndim not in (1, 2) or len(part) != num_levels:
            raise ValueError(
                f"scores {label!r} have shape {part.shape}; expected ({num_levels}, clips) or ({num_levels},)"
            )
    width = 0.8 / len(values)
    bars = []
    for index, (label, part) in enumerate(values.items()):
        low, middle, high = (part, part, part) if part.ndim == 1 else _over_clips(part, use_quantiles)
        reach = None if part.ndim == 1 else (middle - low, high - middle)
        places = np.arange(num_levels) + (index - (len(values) - 1) / 2) * width
        whisker = {"ecolor": colors.INK, "elinewidth": 0.9, "capsize": 2}
        bars.append(axes.bar(places, middle, 0.92 * width, yerr=reach, color=colors.LINES[index], label=label,
                             error_kw=whisker))  # fmt: skip
    quiet(axes)
    axes.grid(False, axis="x")
    if log:
        _log_both_ways(axes, np.array([bar.get_height() for group in bars for bar in group]))
    axes.axhline(0, color=colors.MUTED, linewidth=0.8)
    axes.set_xticks(range(num_levels), [f"z{level}" for level in range(num_levels)] if levels is None else levels)
    axes.set_ylabel(ylabel)
    if len(values) > 1:
        axes.legend(fontsize=8, frameon=False)
    return bars


def _check_strip(truth: np.ndarray, filled: Mapping[str, np.ndarray], is_seen: np.ndarray, skeleton: Skeleton) -> None:
    if not filled:
        raise ValueError("imputed_strip: nothing is filled")
    if truth.ndim != 3 or truth.shape[1:] != (skeleton.num_joints, 3):
        raise ValueError(
            f"truth has shape {truth.shape}; expected (frames, {skeleton.num_joints}, 3) of {skeleton.name!r}"
        )
    for name, values in {"is_seen": is_seen, **filled}.items():
        if values.shape != truth.shape:
            raise ValueError(f"{name!r} has shape {values.shape}, truth {truth.shape}: make them equal")


def _poses(axes, flat, true, is_off, is_lost, skeleton, shades) -> list[LineCollection]:
    """The bodies of one row; the truth dotted over them, and rings, are drawn too."""
    from matplotlib.collections import LineCollection

    limbs = np.asarray(skeleton.limbs)
    bodies = []
    for body, truth, off, lost in zip(flat, true, is_off, is_lost, strict=True):
        artist = LineCollection(body[limbs], colors=shades, linewidths=1.8, capstyle="round", joinstyle="round")
        bodies.append(axes.add_collection(artist))
        differs = off[limbs].any(1)
        axes.add_collection(LineCollection(truth[limbs[differs]], colors=colors.INK, linewidths=0.9, linestyles=":"))
        axes.scatter(*body[lost].T, s=6, facecolor="white", edgecolor=colors.INK, linewidth=0.5, zorder=3)
    return bodies


def _scale(axes: Axes, shares: np.ndarray, log_shares: bool, log: bool) -> None:
    """The look of a chart over shares, and logarithmic axes with plain numbers at 1, 10 and so on; on an axis of less
    than two decades, at 2 and 5 too."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if log_shares and not (shares > 0).all():
        raise ValueError(f"log_shares needs shares above 0, and the least is {shares.min()}")
    quiet(axes)
    axes.margins(x=0.03)
    for name in ["x"] * log_shares + ["y"] * log:
        axes.set(**{f"{name}scale": "log"})
        axis = getattr(axes, f"{name}axis")
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis=name, which="minor", color=colors.RULE)


def _over_clips(values: np.ndarray, use_quantiles: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower end, middle and upper end of each row."""
    if use_quantiles:
        return tuple(np.quantile(values, (0.16, 0.5, 0.84), axis=1))
    middle, spread = values.mean(1), values.std(1)
    return middle - spread, middle, middle + spread


def _log_both_ways(axes: Axes, values: np.ndarray) -> None:
    """A vertical axis that is logarithmic on both sides of 0, from the power of ten below the smallest value on; one of
    less than two decades has numbers at 2 and 5 times a power too."""
    from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator

    sizes = np.abs(values[values != 0])
    least = 10 ** np.floor(np.log10(sizes.min())) if len(sizes) else 1.0
    axes.set_yscale("symlog", linthresh=least)
    if len(sizes) and sizes.max() < 100 * least:
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=least, subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}".replace("-", "\N{MINUS SIGN}")))
    axes.yaxis.get_major_locator().set_params(numticks=7)
    axes.autoscale_view()  # the limits may be those of the linear scale
