"""Classes of points in a plane, such as the latents of clips. What lays them there is in ``representation.planes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from motionkit.plotting import colors
from motionkit.plotting.charts import quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure, SubFigure

MOST_CLASSES = 12  # that are told apart in one plane

_CLASS_MARKERS = "o^"


def embedding(axes: Axes, points: Any, labels: Any, *, name: str = "embedding") -> list[PathCollection]:
    """Points in a plane, a color a class, each class named at its center, the median of its points, or just
    above it where names would overlap.

    points: (n, 2). labels: (n,) names or numbers of the classes; they are colored in sorted order.
    name: of the projection, for the axes, whose numbers mean nothing and are left out.

    Returns one collection a class. Raises ``ValueError`` for shapes that do not fit, or more than ``MOST_CLASSES``.
    Source: paper 4 (HG-VAE), Figure 9.
    """
    points, labels = np.asarray(points, dtype=float), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"points have shape {points.shape} and labels {labels.shape}; expected (n, 2) and (n,)")
    classes = np.unique(labels)
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"{len(classes)} classes; at most {MOST_CLASSES} can be told apart")
    size = float(np.clip(6000 / max(1, len(points)), 5, 30))
    drawn, centers = [], {}
    for index, kind in enumerate(classes):
        own = points[labels == kind]
        rounds, place = divmod(index, len(colors.LINES))
        color, look = colors.LINES[place], {"s": size, "marker": _CLASS_MARKERS[rounds], "alpha": 0.55, "linewidths": 0}
        drawn.append(axes.scatter(*own.T, color=color, label=str(kind), **look))
        centers[str(kind)] = np.median(own, axis=0), color
    quiet(axes)
    axes.grid(False)
    axes.set(xticks=[], yticks=[], xlabel=f"{name}, first axis", ylabel=f"{name}, second axis")
    _name_centers(axes, centers)
    return drawn


def embeddings(
    figure: Figure | SubFigure, points: Mapping[str, Mapping[str, Any]], labels: Any
) -> dict[tuple[str, str], list[PathCollection]]:
    """``embedding`` of the same things seen in several ways: a row a representation, a column a projection.

    points: representation -> projection -> (n, 2), every representation in the same projections. labels: (n,).

    Returns the collections by representation and projection. Raises as ``embedding``.
    """
    names = list(next(iter(points.values())))
    panels = figure.subplots(len(points), len(names), squeeze=False)
    drawn = {}
    for row, (title, planes) in zip(panels, points.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            axes.set_title(title, fontsize=10.5, color=colors.INK)
            drawn[title, name] = embedding(axes, planes[name], labels, name=name)
    return drawn


def _name_centers(axes: Axes, centers: Mapping[str, tuple[np.ndarray, str]]) -> None:
    """Write names at places of the given colors, from the lowest up, each raised above those it would overlap."""
    from matplotlib.patheffects import withStroke

    texts = []
    for name, (place, color) in centers.items():
        dark = [0.55 * part + 0.45 * ink for part, ink in zip(colors.rgb(color), colors.rgb(colors.INK), strict=True)]
        texts.append(axes.annotate(name, place, (0, 0), textcoords="offset points", color=dark, fontsize=9.5,
                                   fontweight="bold", ha="center", va="center", zorder=4,
                                   path_effects=[withStroke(linewidth=3, foreground="white")]))  # fmt: skip
    axes.figure.draw_without_rendering()  # fixes the size of the axes, which places depend on
    placed = []
    for text in sorted(texts, key=lambda text: text.xy[1]):
        box = text.get_window_extent()
        for other in sorted(placed, key=lambda other: other.y0):
            if box.overlaps(other):
                box = box.translated(0, other.y1 - box.y0 + 1)
        text.set_position((0, (box.y0 - text.get_window_extent().y0) * 72 / axes.figure.dpi))
        placed.append(box)
