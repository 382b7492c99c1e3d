"""The figures of the study of stochastic depth; where nothing has run, they say so.

Source: paper 4 (HG-VAE), Table 1 and Figure 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from motionkit.data.masks import PATTERNS
from motionkit.plotting import colors
from motionkit.plotting.charts import quiet, say_nothing_there
from motionkit.plotting.grids import MARKERS, value_map
from motionkit.plotting.imputation import change_curves
from motionkit.plotting.noise_curves import name_at_the_end

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D


def depth_panels(
    figure: Figure | SubFigure,
    ours: Mapping[str, Mapping[str, pd.DataFrame]],
    printed: Mapping[str, pd.DataFrame],
    units: Mapping[str, str],
    rules: Mapping[str, Mapping[str, float]] | None = None,
) -> list[list[Line2D]]:
    """A panel a score: ours above, one line a reading within its band, and below, on a scale of its own, what the paper
    prints. Returns the lines, panel by panel, ours first.

    ours: score -> reading -> as of ``depth_curves``. printed: score -> the same, empty where nothing is printed.
    units: of the scores, in the order of the panels. rules: score -> label -> a value of ours that has no depth.
    """
    above, below = figure.subplots(2, len(units), squeeze=False, height_ratios=(3, 2))
    drawn = [depth_curves(axes, ours[score]) for axes, score in zip(above, units, strict=True)]
    for axes, lines, (score, unit) in zip(above, drawn, units.items(), strict=True):
        axes.set_title(f"{score} [{unit}]", fontsize=9.5, color=colors.INK)
        for label, value in (rules or {}).get(score, {}).items() if lines else ():
            axes.axhline(value, color=colors.MUTED, linewidth=1.0, linestyle=":")
            axes.text(0.01, value, label, transform=axes.get_yaxis_transform(), va="bottom", fontsize=8,
                      color=colors.MUTED)  # fmt: skip
    for axes, score in zip(below, units, strict=True):
        there = {"paper": printed[score]} if len(printed[score]) else {}
        drawn.append(depth_curves(axes, there, color=colors.MUTED, missing="not printed"))
        axes.set_xlabel("levels drawn")
    above[0].set_ylabel("ours")
    below[0].set_ylabel("paper")
    if named := {line.get_label(): line for lines in drawn for line in lines}:
        figure.legend(named.values(), named, loc="outside lower center", ncols=len(named), fontsize=8.5, frameon=False)
    return drawn


def depth_curves(
    axes: Axes, curves: Mapping[str, pd.DataFrame], *, color: str | None = None, missing: str = "not run"
) -> list[Line2D]:
    """A score over the number of levels drawn, by label.

    curves: label -> columns ``depth``, ``value`` and ``low`` and ``high``, the ends of a band, which may be NaN.
    color: of all curves, by default one each. missing: what axes without a curve say.
    """
    lines = []
    for place, (label, curve) in enumerate(curves.items()):
        style = {"color": color or colors.LINES[place % len(colors.LINES)], "marker": MARKERS[place % len(MARKERS)]}
        lines += axes.plot(curve["depth"], curve["value"], label=label, linewidth=1.6, markersize=4.5, **style)
        axes.fill_between(curve["depth"], curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0)
    quiet(axes)
    if not lines:
        say_nothing_there(axes, missing)
        return lines
    depths = sorted({depth for curve in curves.values() for depth in curve["depth"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    return lines


def level_panels(figure: Figure | SubFigure, divergences: Mapping[str, pd.DataFrame]) -> list[AxesImage]:
    """Which levels are used: by label a panel, in it the divergence [nats] of each level (column) at each depth (line)
    as a colored cell with its number, on one scale of colors; NaN is a level that is off. Returns the images.

    divergences: label -> table; one without lines has not run.
    """
    most = max((table.max(axis=None) for table in divergences.values() if len(table)), default=1.0)
    images = []
    panels = figure.subplots(len(divergences), 1, squeeze=False)[:, 0]
    for axes, (label, table) in zip(panels, divergences.items(), strict=True):
        if len(table):
            images.append(value_map(axes, table, label=label, limits=(0.0, most), decimals=1, missing="off"))
        else:
            quiet(axes).set_title(label, fontsize=9.5, color=colors.INK)
            say_nothing_there(axes, "not run")
    return images


def filling_panels(figure: Figure, curves: Mapping[str, pd.DataFrame], metric: str = "RMSE") -> list[Axes]:
    """Errors of filling in over the share that is missing: a line of panels for each label, one for each pattern of
    what is missing.

    curves: label, such as a data set -> as of ``change_curves``.
    """
    panels, drawn = figure.subplots(len(curves), len(PATTERNS), squeeze=False), {}
    for line, (label, table) in zip(panels, curves.items(), strict=True):
        for axes, pattern in zip(line, PATTERNS, strict=True):
            quiet(axes).set_title(label, fontsize=9.5, color=colors.INK)
            if (table["pattern"] == pattern).any():
                drawn[axes] = change_curves(axes, table, pattern, metric, log=True, is_named=False)
            else:
                say_nothing_there(axes, "not run")
    figure.draw_without_rendering()  # once for all panels: it takes as long as all else
    for axes, lines in drawn.items():
        name_at_the_end(axes, lines, is_laid_out=True)
    return list(panels.flat)
