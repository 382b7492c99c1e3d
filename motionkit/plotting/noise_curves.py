"""Error over the amount of noise, one line a method; and the lines and their names, for other charts of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from motionkit.plotting import colors
from motionkit.plotting.charts import quiet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_MARKERS = "osD^vPX"


def noise_curves(
    axes: Axes,
    curves: pd.DataFrame,
    kind: str,
    metric: str = "Keypoints [px]",
    *,
    xlabel: str | None = None,
    ylabel: str | None = None,
    band: float = 1.0,
    log: bool = False,
) -> list[Line2D]:
    """The lines of one kind of corruption and one metric, each named at its right end; returns the lines.

    curves: columns ``kind``, ``level``, ``method``, ``metric``, ``value``, ``spread``, as ``denoising_curves`` gives
        them. A method keeps its color and marker over the panels of one figure, by its place in ``curves``.
    xlabel, ylabel: what the level and the error are, with units; the kind and the metric by default.
    band: half-width of the shaded band in spreads; 0 for none.
    log: logarithmic error. Then bands end at a tenth of their line.

    Raises ``ValueError`` naming a missing column, or a kind or metric that the curves do not hold.
    """
    missing = [name for name in ("kind", "level", "method", "metric", "value", "spread") if name not in curves.columns]
    if missing:
        raise ValueError(f"curves lack the columns {missing}; they have {list(curves.columns)}")
    for column, value in (("kind", kind), ("metric", metric)):
        if value not in set(curves[column]):
            raise ValueError(
                f"curves hold no {column} {value!r}; they hold {', '.join(map(repr, set(curves[column])))}"
            )
    methods = list(dict.fromkeys(curves["method"]))
    chosen = curves[(curves["kind"] == kind) & (curves["metric"] == metric)]
    lines = []
    for method, rows in chosen.groupby("method", sort=False):
        level, value, spread = rows.sort_values("level")[["level", "value", "spread"]].to_numpy(float).T
        low = np.maximum(value - band * spread, 0.1 * value if log else np.minimum(value, 0.0))
        limits = (low, value + band * spread) if band else None
        lines.append(banded_line(axes, level, value, limits, label=method, place=methods.index(method)))
    quiet(axes)
    axes.margins(x=0.03)
    if log:
        axes.set_yscale("log")
    elif chosen["value"].min() >= 0 and metric.startswith(("Keypoints", "L1")):
        axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel or kind)
    axes.set_ylabel(ylabel or metric)
    name_at_the_end(axes, lines)
    return lines


def banded_line(
    axes: Axes, x: np.ndarray, y: np.ndarray, band: tuple[np.ndarray, np.ndarray] | None, *, label: str, place: int
) -> Line2D:
    """A line of points within a pale band from its first to its second limit. place: in the order of the methods, which
    decides color and marker; beyond the last color they begin again, dashed."""
    color, marker = colors.LINES[place % len(colors.LINES)], _MARKERS[place % len(_MARKERS)]
    if band is not None:
        axes.fill_between(x, *band, color=color, alpha=0.10, linewidth=0)
    style = "-" if place < len(colors.LINES) else "--"
    (line,) = axes.plot(x, y, style, color=color, marker=marker, markersize=4, linewidth=1.6, label=label)
    return line


def name_at_the_end(axes: Axes, lines: Sequence[Line2D], *, is_laid_out: bool = False) -> None:
    """Write each line's label to the right of its last visible point, moved apart where they would overlap. Call it
    last: the limits and the scale of the axes must stay as they are.

    is_laid_out: the figure's layout is known already, as after its ``draw_without_rendering``; of many panels that is
        most of the time.
    """
    if not is_laid_out:
        axes.figure.draw_without_rendering()  # fixes the size of the axes, which the spacing depends on
    visible = {line: line.get_xydata()[_is_visible(axes, line)] for line in lines}
    ends = sorted(((points[-1], line) for line, points in visible.items() if len(points)), key=lambda end: end[0][1])
    height = axes.get_window_extent().height / axes.figure.dpi * 72  # points
    to_points = axes.transScale + axes.transLimits  # data to the share of the axes
    wanted = [to_points.transform(point)[1] * height for point, _ in ends]
    placed = _apart(wanted, 10.0) if ends else []
    for (point, line), own, place in zip(ends, wanted, placed, strict=True):
        axes.annotate(line.get_label(), point, (7, place - own), textcoords="offset points", color=line.get_color(),
                      fontsize=8.5, va="center", annotation_clip=False)  # fmt: skip


def _is_visible(axes: Axes, line: Line2D) -> np.ndarray:
    """Which points of a line have a place in the picture: NaN has none, nor has 0 on a logarithmic axis."""
    points = line.get_xydata()
    is_shown = np.isfinite(points).all(1)
    return is_shown & (points[:, 1] > 0) if axes.get_yscale() == "log" else is_shown


def _apart(wanted: Sequence[float], gap: float) -> np.ndarray:
    """Rising places, at least ``gap`` from one another, with the least sum of squared moves.

    Source: isotonic regression by pooling neighbors (Ayer et al. 1955), of the places less their gaps.
    """
    blocks: list[list[float]] = []  # mean and count
    for index, place in enumerate(wanted):
        blocks.append([place - gap * index, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (first, few), (second, many) = blocks[-2:]
            blocks[-2:] = [[(first * few + second * many) / (few + many), few + many]]
    return np.concatenate([np.full(int(count), mean) for mean, count in blocks]) + gap * np.arange(len(wanted))
