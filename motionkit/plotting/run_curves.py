"""One value over the training of several runs, side by side: with and without an adversary, from one seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from motionkit.plotting import colors
from motionkit.plotting.charts import quiet, say_nothing_there

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def run_curves(
    axes: Axes,
    histories: Mapping[str, pd.DataFrame],
    name: str,
    *,
    marks: Mapping[str, int] | None = None,
    split: str = "train",
    smooth: int = 1,
    log: bool = False,
    ylabel: str | None = None,
) -> list[Line2D]:
    """One curve a run. Where a run's guard returned to a checkpoint, a triangle stands on its curve.

    histories: label -> columns ``step``, ``split``, ``name``, ``value``, as ``History.frame`` gives them.
    name, split: the value that is drawn, e.g. "l1" of "train", "harm" of "guard", a score of "validate".
    marks: steps that get a dotted rule and their label, e.g. ``{"discriminator starts": 1000}``.
    smooth: running median over so many logged points; the raw curve stays visible, paler.
    log: logarithmic axis. ylabel: ``name`` by default. Without any run the axes say so.

    Raises ``ValueError`` naming the run that has no such value.
    """
    lines = []
    for index, (label, history) in enumerate(histories.items()):
        rows = history[(history["name"] == name) & (history["split"] == split)].sort_values("step")
        if rows.empty:
            raise ValueError(f"{label}: its history holds no {name!r} of split {split!r}")
        color, step, raw = colors.LINES[index % len(colors.LINES)], rows["step"].to_numpy(), rows["value"].astype(float)
        value = raw.rolling(smooth, min_periods=1, center=True).median().to_numpy()
        if smooth > 1:
            axes.plot(step, raw, color=color, linewidth=0.7, alpha=0.3)
        marker = "o" if len(step) < 3 or split != "train" else None
        lines += axes.plot(step, value, color=color, linewidth=1.6, marker=marker, markersize=3.5, label=label)
        returns = history[history["name"] == "returned_to"]
        for at, to in zip(returns["step"], returns["value"], strict=True):
            axes.plot(at, np.interp(at, step, value), color=color, marker="v", markersize=9, linestyle="none",
                      markeredgecolor=colors.INK, label=f"returned to step {to:.0f}")  # fmt: skip
    quiet(axes)
    if log:
        axes.set_yscale("log")
    for label, step in (marks or {}).items():
        axes.axvline(step, color=colors.MUTED, linewidth=1.0, linestyle=":")
        axes.text(step, 1.0, f" {label}", transform=axes.get_xaxis_transform(), rotation=90, va="top", ha="right",
                  fontsize=8, color=colors.MUTED)  # fmt: skip
    axes.set_xlabel("step")
    axes.set_ylabel(name if ylabel is None else ylabel)
    if lines:
        axes.legend(fontsize=8, frameon=False)
    else:
        say_nothing_there(axes, "not run")
    return lines
