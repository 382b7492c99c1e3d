"""Charts of classifiers and detectors. Each takes an axis and plain arrays and returns artists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from motionkit.plotting import colors
from motionkit.plotting.charts import quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon


def roc_curves(
    axes: Axes,
    curves: Mapping[str, tuple[Any, Any]],
    operating_points: Mapping[str, tuple[float, float]] | None = None,
) -> list[Line2D]:
    """Finds against false alarms, one line a detector, with the diagonal of pure chance.

    curves: label -> (false positive rate, true positive rate), each (points,) in [0, 1]. At most as many as there are
        line colors.
    operating_points: label -> the two rates at a threshold that was chosen beforehand; drawn as a dot on (or, if it was
        chosen from other data, near) the line of that label.

    Raises ``ValueError`` for rates outside [0, 1], too many curves, or an operating point without its curve.
    """
    if len(curves) > len(colors.LINES):
        raise ValueError(f"{len(curves)} curves; at most {len(colors.LINES)} can be told apart")
    if alien := sorted(set(operating_points or ()) - set(curves)):
        raise ValueError(f"operating point {alien[0]!r} has no curve; there are {', '.join(curves)}")
    axes.plot([0, 1], [0, 1], color=colors.MUTED, linewidth=0.9, linestyle=":", label="chance")
    lines = []
    for (label, rates), color in zip(curves.items(), colors.LINES, strict=False):
        x, y = (np.asarray(rate, dtype=float) for rate in rates)
        if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) > 1:
            raise ValueError(
                f"curve {label!r}: rates lie in {min(x.min(), y.min())}..{max(x.max(), y.max())}, not in 0..1"
            )
        lines += axes.plot(x, y, color=color, linewidth=1.5, label=label)
        if label in (operating_points or ()):
            axes.plot(*operating_points[label], "o", color=color, markersize=6, markeredgecolor="white", clip_on=False,
                      zorder=3)  # fmt: skip
    quiet(axes)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="false alarms: share of usual windows flagged",
             ylabel="finds: share of unusual windows flagged")  # fmt: skip
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return lines


def score_histogram(
    axes: Axes, scores: Mapping[str, Any], *, threshold: float | None = None, xlabel: str = "score", num_bins: int = 40
) -> list[Polygon]:
    """How scores are spread, one outline a set, each with area 1, over common bins.

    scores: label -> (samples,); the first is filled: the usual ones, against which the others are seen.
    threshold: a dashed line; what lies right of it is flagged.

    Raises ``ValueError`` for no scores, scores that are not finite, or more sets than there are line colors.
    """
    if not scores or len(scores) > len(colors.LINES):
        raise ValueError(f"{len(scores)} sets of scores; expected 1 to {len(colors.LINES)}")
    values = {label: np.asarray(part, dtype=float) for label, part in scores.items()}
    for label, part in values.items():
        if part.size == 0 or not np.isfinite(part).all():
            raise ValueError(f"scores {label!r}: {part.size} values, {int((~np.isfinite(part)).sum())} not finite")
    together = np.concatenate(list(values.values()))
    edges = np.histogram_bin_edges(together, bins=num_bins)
    outlines = []
    for index, ((label, part), color) in enumerate(zip(values.items(), colors.LINES, strict=False)):
        fill = {"fill": True, "alpha": 0.3} if index == 0 else {"fill": False}
        density, _ = np.histogram(part, edges, density=True)
        outlines.append(axes.stairs(density, edges, color=color, linewidth=1.4, label=label, **fill))
    if threshold is not None and np.isfinite(threshold):
        axes.axvline(threshold, color=colors.INK, linewidth=1.1, linestyle="--", label="threshold")
    quiet(axes)
    axes.set(xlabel=xlabel, ylabel="density")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    return outlines


def confusion_table(axes: Axes, confusion: Any, names: Sequence[str]) -> AxesImage:
    """What each actual class (row) was taken for (column): counts, shaded by their share of the row.

    confusion: (classes, classes) counts. names: of the classes, in order.

    Raises ``ValueError`` when these do not fit together.
    """
    counts = np.asarray(confusion)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"confusion has shape {counts.shape}, but there are {len(names)} names")
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0):
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                  color="white" if shares[row, column] > 0.6 else colors.INK)  # fmt: skip
    places = range(len(names))
    axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.tick_params(colors=colors.MUTED, labelsize=8.5, length=0)
    for edge in axes.spines.values():
        edge.set_visible(False)
    axes.set(xlabel="recognized as", ylabel="actual class")
    return image
