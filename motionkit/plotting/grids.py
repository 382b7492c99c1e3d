"""Results over a grid of settings: as a map with the numbers written in, and as curves over what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from motionkit.plotting import colors
from motionkit.plotting.charts import quiet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def value_map(
    axes: Axes,
    values: pd.DataFrame,
    *,
    label: str = "",
    limits: tuple[float, float] | None = None,
    decimals: int = 3,
    missing: str = "not run",
) -> AxesImage:
    """A table as colored cells with the numbers in them; NaN is a pale cell marked as ``missing``.

    values: rows and columns as they are to stand, its index and columns are the names. Brighter is higher.
    limits: ends of the color scale, by default those of the values; give them where several maps share a scale.
    """
    numbers = values.to_numpy(float)
    known = numbers[np.isfinite(numbers)]
    low, high = limits or ((known.min(), known.max()) if known.size else (0.0, 1.0))
    image = axes.imshow(np.ma.masked_invalid(numbers), cmap="viridis", vmin=low, vmax=high, aspect="auto")
    axes.set_facecolor(colors.RULE)
    middle = low + 0.6 * (high - low)
    for row, column in np.ndindex(*numbers.shape):
        value = numbers[row, column]
        text = f"{value:.{decimals}f}" if np.isfinite(value) else missing
        light = not np.isfinite(value) or value > middle
        axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colors.INK if light else "#FFFFFF")
    axes.set_xticks(range(numbers.shape[1]), [str(name) for name in values.columns])
    axes.set_yticks(range(numbers.shape[0]), [str(name) for name in values.index])
    axes.tick_params(length=0, labelsize=8.5, colors=colors.INK)
    axes.set_xlabel(values.columns.name or "")
    axes.set_ylabel(values.index.name or "")
    axes.set_title(label, fontsize=9.5, color=colors.INK)
    for edge in axes.spines.values():
        edge.set_visible(False)
    return image


def trade_off(
    axes: Axes,
    series: Mapping[str, Sequence[tuple[float, float, str]]],
    *,
    xlabel: str,
    ylabel: str,
    zero: str | None = None,
) -> list[Line2D]:
    """What quality costs: one line a series, over a logarithmic cost.

    series: label -> points (cost, quality, name), in the order of the costs; the name is written at the point.
    zero: draws a rule at quality 0 and says what it is.
    """
    lines = []
    for index, (label, points) in enumerate(series.items()):
        style = {"color": colors.LINES[index % len(colors.LINES)], "marker": MARKERS[index % len(MARKERS)]}
        costs, qualities, _ = zip(*points, strict=True)
        lines += axes.plot(costs, qualities, label=label, linewidth=1.5, markersize=5, **style)
        for number, (cost, quality, name) in enumerate(points):
            place, align = ((0, 5), "bottom") if number % 2 == 0 else ((0, -5), "top")  # neighbors may be close
            axes.annotate(name, (cost, quality), place, textcoords="offset points", ha="center", va=align, fontsize=7.5,
                          color=style["color"])  # fmt: skip
    quiet(axes)
    axes.set_xscale("log")
    if zero is not None:
        axes.axhline(0, color=colors.MUTED, linewidth=0.9, linestyle=":")
        axes.text(0.99, 0, zero, transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=8,
                  color=colors.MUTED)  # fmt: skip
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if lines:
        axes.legend(fontsize=8, frameon=False)
    return lines
