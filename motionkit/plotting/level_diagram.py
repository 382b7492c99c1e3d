"""A hierarchical model as a drawing: graphs that shrink on the way up, and the trunk that collects latents coming down.

Source: paper 4 (HG-VAE), Figure 2. Differs: every level of a given model is drawn, with its sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from motionkit.plotting import colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_ENCODER, _LATENT, _TRUNK = 0.0, 1.0, 2.0  # where the columns stand
_WIDTH, _GAP, _BESIDE = 0.62, 0.24, 0.1  # of the largest graph, and what arrows leave free; rows are 1 apart
_MEANINGS = {
    "what the posterior is told of the clip": colors.BLUE,
    "a draw joins the trunk": colors.VERMILION,
    "the levels above, as priors, posteriors and the clip are told": colors.GREEN,
}


def level_diagram(
    axes: Axes,
    clip: tuple[int, int],
    levels: Sequence[tuple[int, int]],
    trunk_features: int,
    off_levels: Collection[int] = (),
) -> dict[str, Line2D]:
    """Encoder on the left, going up; latents z0 (above) and below in the middle; the trunk on the right, coming down.
    Every graph is a row of dots, one a node.

    clip: nodes and features of the graph that goes in and comes out. levels: those of the latents, from the last to z0,
    as in ``HGVAEConfig``. trunk_features: of the trunk, whose nodes are those of the clip. off_levels: levels, counted
    from z0, that are not drawn from but means: gray.

    Returns the latents by name. Raises ``ValueError`` without levels.
    """
    if not levels:
        raise ValueError("there are no levels to draw")
    top = len(levels)
    most = max(clip[0], *(nodes for nodes, _ in levels))
    _graph(axes, _ENCODER, 0, *clip, most, "clip")
    _graph(axes, _TRUNK, 0, *clip, most, "mean and variance of the clip")
    latents = {}
    for row, (nodes, features) in enumerate(levels, start=1):
        name, is_off = f"z{top - row}", top - row in off_levels
        _graph(axes, _ENCODER, row, nodes, features, most)
        _graph(axes, _TRUNK, row, clip[0], trunk_features, most)
        (latents[name],) = axes.plot(
            _LATENT, row, linestyle="", marker="o", markersize=24, markerfacecolor="white", markeredgewidth=1.5,
            markeredgecolor=colors.DEAD if is_off else colors.VERMILION, zorder=3,
        )  # fmt: skip
        ink = colors.MUTED if is_off else colors.INK
        axes.text(_LATENT, row, name, ha="center", va="center", fontsize=9, color=ink, zorder=4)
        axes.text(_LATENT, row - 0.25, f"{nodes} × {features}", ha="center", va="top", fontsize=7.5,
                  color=colors.MUTED)  # fmt: skip
        told, joins, shared = _MEANINGS.values()
        edge = _ENCODER + _WIDTH * (nodes / most) / 2 + 0.04
        _arrow(axes, (_ENCODER, row - 1 + 0.06), (_ENCODER, row - _GAP), told)
        _arrow(axes, (edge, row), (_LATENT - _BESIDE, row), told)
        _arrow(axes, (_LATENT + _BESIDE, row), (_TRUNK - _WIDTH / 2 - 0.03, row), colors.DEAD if is_off else joins)
        _arrow(axes, (_TRUNK, row - _GAP), (_TRUNK, row - 1 + 0.06), shared)
        if row < top:  # the prior of z0 is the same for all
            _arrow(axes, (_TRUNK, row + 0.4), (_LATENT + 0.8 * _BESIDE, row + 0.16), shared)
    for x, text in ((_ENCODER, "encoder"), (_LATENT, "latents"), (_TRUNK, "trunk")):
        axes.text(x, top + 0.55, text, ha="center", va="bottom", fontsize=10.5, color=colors.INK)
    for meaning, color in _MEANINGS.items():
        axes.plot([], [], color=color, label=meaning)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=8, frameon=False)
    axes.set(xlim=(-0.5, 2.5), ylim=(-0.4, top + 0.9), xticks=[], yticks=[])
    axes.set_frame_on(False)
    return latents


def _graph(axes: Axes, x: float, y: float, nodes: int, features: int, most: int, name: str = "") -> None:
    """Dots within a line as wide as the graph has nodes, and its size below."""
    width = _WIDTH * (nodes - 1) / max(1, most - 1)
    places = [x + width * ((node + 0.5) / nodes - 0.5) for node in range(nodes)]
    axes.plot(places, [y] * nodes, linestyle="", marker="o", markersize=1.6 if nodes > 1 else 3.5, color=colors.INK)
    size = f"{nodes} × {features}"
    axes.text(x, y - 0.06, f"{name}, {size}" if name else size, ha="center", va="top", fontsize=7.5, color=colors.MUTED)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    looks = {"arrowstyle": "-|>", "mutation_scale": 9, "linewidth": 1.1, "color": color, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=looks, zorder=2)
