"""Charts of a training run and of the tokens a model uses. Each takes an axis and plain arrays and returns artists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from motionkit.plotting import colors

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.text import Text


def quiet(axes: Axes) -> Axes:
    """The kit's plain look for an axis: no box, pale rules, muted ticks."""
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    for edge in ("left", "bottom"):
        axes.spines[edge].set_color(colors.RULE)
    axes.tick_params(colors=colors.MUTED, labelsize=8.5)
    axes.grid(True, color=colors.RULE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    return axes


def say_nothing_there(axes: Axes, text: str) -> Text:
    """An axis without numbers, and why in its middle."""
    axes.set(xticks=[], yticks=[])
    axes.minorticks_off()
    return axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=colors.MUTED)


def loss_curves(
    axes: Axes,
    history: pd.DataFrame,
    names: Sequence[str] | None = None,
    *,
    smooth: int = 1,
    log: bool = False,
    ylabel: str = "loss",
) -> list[Line2D]:
    """Curves of a training history: solid for training, dashed with dots for validation.

    history: columns ``step``, ``split``, ``name``, ``value`` (one row a logged number).
    names: which quantities; every ``loss...`` of the history by default.
    smooth: running mean of the training curves over so many logged points; the raw curve stays visible, paler.
    log: logarithmic axis.

    Raises ``ValueError`` naming a missing column, or a quantity that the history does not hold.
    """
    missing = [column for column in ("step", "split", "name", "value") if column not in history.columns]
    if missing:
        raise ValueError(f"history lacks the columns {missing}; it has {list(history.columns)}")
    known = list(dict.fromkeys(history["name"]))
    names = [name for name in known if str(name).startswith("loss")] if names is None else list(names)
    for name in names:
        if name not in known:
            raise ValueError(f"history holds no {name!r}; it holds {', '.join(map(str, known))}")
    lines = []
    several_splits = history[history["name"].isin(names)]["split"].nunique() > 1
    for index, name in enumerate(names):
        color = colors.LINES[index % len(colors.LINES)]
        for split, rows in history[history["name"] == name].groupby("split", sort=False):
            rows = rows.sort_values("step")
            step, value = rows["step"].to_numpy(), rows["value"].to_numpy(float)
            label = f"{name} ({split})" if several_splits else str(name)
            if split != "train":
                lines += axes.plot(step, value, color=color, linestyle="--", marker="o", markersize=3.5, linewidth=1.2,
                                   label=label)  # fmt: skip
                continue
            if smooth > 1 and len(value) > smooth:
                axes.plot(step, value, color=color, linewidth=0.7, alpha=0.3)
                value = rows["value"].rolling(smooth, min_periods=1, center=True).mean().to_numpy()
            marker = "o" if len(value) < 3 else None  # a short run is points, not an invisible line
            lines += axes.plot(step, value, color=color, linewidth=1.6, marker=marker, label=label)
    quiet(axes)
    if log:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    if lines:
        axes.legend(fontsize=8, frameon=False)
    return lines


def token_usage(
    axes: Axes, counts: Any, *, label: str | None = None, color: str = colors.BLUE, log: bool = True
) -> Line2D:
    """How evenly a codebook is used: the share of each code, most used first; codes never used are marked.

    counts: (K,) how often each code was used. The dotted rule is the share of an even use, 1/K.
    log: logarithmic share, which also shows the rarely used codes.
    """
    counts = np.asarray(counts.detach().cpu() if hasattr(counts, "detach") else counts, dtype=np.float64)
    if counts.ndim != 1 or len(counts) == 0 or (counts < 0).any():
        raise ValueError(f"counts have shape {counts.shape}; expected (K,) numbers of uses, none negative")
    size, dead = len(counts), int((counts == 0).sum())
    share = 100 * np.sort(counts)[::-1] / max(1.0, counts.sum())
    edges = np.arange(size + 1)
    used = size - dead
    axes.fill_between(edges, np.append(share, share[-1]), step="post", color=color, alpha=0.18, linewidth=0)
    (line,) = axes.step(edges, np.append(share, share[-1]), where="post", color=color, linewidth=1.4,
                        label=label or f"{used} of {size} codes used")  # fmt: skip
    axes.axhline(100 / size, color=colors.MUTED, linewidth=0.9, linestyle=":", label=f"even use ({100 / size:.2g} %)")
    quiet(axes)
    if dead:
        axes.axvspan(used, size, facecolor="none", edgecolor=colors.DEAD, hatch="////", linewidth=0,
                     label=f"{dead} unused")  # fmt: skip
    axes.set_xlim(0, size)
    top = max(float(share.max()), 100 / size)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(0.5 * float(share[share > 0].min(initial=100 / size)), 2 * top)
    else:
        axes.set_ylim(0, 1.08 * top)
    axes.set_xlabel("code, most used first")
    axes.set_ylabel("share of tokens [%]")
    axes.legend(fontsize=8, frameon=False)
    return line


def token_grid(
    figure: Figure | SubFigure, tokens: Any, *, num_codes: int | None = None, max_steps: int = 8, order: Any = None
) -> list[AxesImage]:
    """The tokens of one window, one small map for each latent time step, read from left to right.

    tokens: (t, h, w) indices. Codes are names, not amounts: a color only says which cells share a code; small grids
    carry the numbers too. ``max_steps``: at most so many steps, evenly spread.
    order: (K,) values in [0, 1] to color the codes by, such as their ``similarity_order``; by default the commonest
        code of the window is darkest.
    """
    tokens = np.asarray(tokens.detach().cpu() if hasattr(tokens, "detach") else tokens)
    if tokens.ndim != 3 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens have shape {tokens.shape} and type {tokens.dtype}; expected (t, h, w) integers")
    num_codes = int(tokens.max()) + 1 if num_codes is None else num_codes
    if tokens.min() < 0 or tokens.max() >= num_codes:
        raise ValueError(f"tokens lie in {tokens.min()}..{tokens.max()}, outside a codebook of {num_codes}")
    steps = np.unique(np.linspace(0, len(tokens) - 1, min(max_steps, len(tokens))).round().astype(int))
    # The codes that occur, most frequent first, spread over the whole color scale: the commonest (the empty
    # background of a heatmap) is darkest.
    codes, counts = np.unique(tokens, return_counts=True)
    rank = np.empty(len(codes))
    rank[np.argsort(-counts, kind="stable")] = np.linspace(0, 1, len(codes))
    shades = rank[np.searchsorted(codes, tokens)] if order is None else np.asarray(order)[tokens]
    images = []
    for axes, step in zip(figure.subplots(1, len(steps), squeeze=False)[0], steps, strict=True):
        images.append(axes.imshow(shades[step], cmap="viridis", vmin=0, vmax=1, interpolation="nearest"))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"t = {step}", fontsize=8.5, color=colors.MUTED)
        for edge in axes.spines.values():
            edge.set_visible(False)
        if max(tokens.shape[1:]) <= 4:
            for row, column in np.ndindex(*tokens.shape[1:]):
                light = shades[step, row, column] > 0.6
                axes.text(column, row, str(tokens[step, row, column]), ha="center", va="center", fontsize=6.5,
                          color=colors.INK if light else "#FFFFFF")  # fmt: skip
    return images
