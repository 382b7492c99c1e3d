"""How well a score tells the unusual from the usual: ROC curve, its area, and a threshold that keeps a promise.

A score is any number that should be higher for unusual samples; ``normal`` and ``unusual`` are the scores of two sets
of samples. Nothing here knows what was scored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 64  # resamples that are weighed at once


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic: one point for each threshold that makes a difference.

    thresholds: (points,) falling, from infinity; a sample is flagged when its score is at or above the threshold.
    false_positive_rate, true_positive_rate: (points,) flagged share of the normal and of the unusual samples, from
        (0, 0) to (1, 1), never falling.
    """

    thresholds: Float[Tensor, "points"]
    false_positive_rate: Float[Tensor, "points"]
    true_positive_rate: Float[Tensor, "points"]


def roc_curve(normal: Float[Tensor, "normal"], unusual: Float[Tensor, "unusual"]) -> Roc:
    """All trade-offs between false alarms and finds that thresholds on the scores allow.

    Equal scores are one step, which is a slope where both sets have them: the curve does not depend on the order of
    ties. Raises ``ValueError`` for an empty set or a score that is NaN.
    """
    normal, unusual = _checked(normal, "normal"), _checked(unusual, "unusual")
    scores = torch.cat([normal, unusual])
    thresholds, which = scores.unique(return_inverse=True)  # rising
    num = len(thresholds)
    rates = []
    for part in (which[: len(normal)], which[len(normal) :]):
        flagged = torch.bincount(part, minlength=num).flip(0).cumsum(0).double() / len(part)
        rates.append(torch.cat([flagged.new_zeros(1), flagged]))
    return Roc(torch.cat([scores.new_full((1,), math.inf), thresholds.flip(0)]), *rates)


def auc(normal: Float[Tensor, "normal"], unusual: Float[Tensor, "unusual"]) -> float:
    """Chance that an unusual sample scores above a normal one, a tie counting half: the area under the ROC curve.

    From 0 to 1; 0.5 for scores that say nothing. The Mann-Whitney statistic divided by the number of pairs.
    Raises as :func:`roc_curve`.

    >>> auc(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))  # pairs: above, above, tie, above
    0.875
    """
    normal, unusual = _checked(normal, "normal").sort().values, _checked(unusual, "unusual")
    below, not_above = _ranks(normal, unusual)
    return (below + not_above).double().mean().item() / (2 * len(normal))


def auc_interval(
    normal: Float[Tensor, "normal"],
    unusual: Float[Tensor, "unusual"],
    *,
    seed: int,
    level: float = 0.95,
    num_resamples: int = 1000,
    normal_groups: Int[Tensor, "normal"] | None = None,
    unusual_groups: Int[Tensor, "unusual"] | None = None,
) -> tuple[float, float]:
    """Bootstrap interval of :func:`auc`: quantiles over samples redrawn with replacement, each set for itself.

    level: how often the interval should hold the true value, within (0, 1).
    normal_groups, unusual_groups: which clip (or person) a sample comes from. Samples of a group resemble each other,
        so whole groups are redrawn; without groups every sample counts as independent and the interval is too narrow
        for overlapping windows. Numbers are local to a set: equal numbers in both sets are different groups.

    Raises ``ValueError`` as :func:`roc_curve`, and for a level outside (0, 1) or less than 1 resample.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number within (0, 1)")
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}; it must be at least 1")
    normal, unusual = _checked(normal, "normal"), _checked(unusual, "unusual")
    order = normal.argsort()
    below, not_above = _ranks(normal[order], unusual)
    normal_groups, unusual_groups = _groups(normal, normal_groups)[order], _groups(unusual, unusual_groups)
    generator = torch.Generator().manual_seed(seed)
    values = []
    for first in range(0, num_resamples, CHUNK):
        count = min(CHUNK, num_resamples - first)
        # a resample gives each sample a weight: how often its group was drawn
        w_normal, w_unusual = (_redrawn(groups, count, generator) for groups in (normal_groups, unusual_groups))
        summed = torch.nn.functional.pad(w_normal.cumsum(1), (1, 0))
        wins = (summed[:, below] + summed[:, not_above]) / 2
        values.append((w_unusual * wins).sum(1) / (w_unusual.sum(1) * summed[:, -1]))
    tail = (1 - level) / 2
    low, high = torch.cat(values).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def calibrate_threshold(calibration: Float[Tensor, "samples"], false_positive_rate: float) -> float:
    """The threshold that flags a new normal sample (its score is at or above) with at most this probability.

    calibration: scores of normal samples that took no part in training. The promise is for a new sample that could as
    well have been one of them (exchangeable: of the same source and independent), on average over calibration sets,
    whatever the distribution of the scores. It is the conformal rule: flagged is what exceeds the k-th highest of
    the n scores, with k = floor(rate (n + 1)). Infinity where n < 1 / rate - 1: so few samples cannot
    show that rate.

    Raises ``ValueError`` for a rate outside (0, 1), an empty set or a score that is NaN.
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"false_positive_rate is {false_positive_rate}; expected a number within (0, 1)")
    scores = _checked(calibration, "calibration").sort(descending=True).values
    flagged = math.floor(false_positive_rate * (len(scores) + 1) + 1e-9)
    # just above it: a new score that equals it is not flagged
    return math.nextafter(scores[flagged - 1].item(), math.inf) if flagged else math.inf


def flagged_share(scores: Float[Tensor, "samples"], threshold: float) -> float:
    """Share of the samples at or above the threshold, in [0, 1]: on normal samples the false positive rate, on unusual
    ones the true positive rate. Raises as :func:`roc_curve`."""
    return (_checked(scores, "these") >= threshold).double().mean().item()


def judge_detector(
    scores: Mapping[str, Float[Tensor, "_"]],
    *,
    false_positive_rate: float,
    seed: int,
    groups: Mapping[str, Int[Tensor, "_"]] | None = None,
    level: float = 0.95,
) -> dict[str, dict[str, float]]:
    """One detector on several kinds of samples: kind -> ``"AUC"``, its interval ``"low"`` and ``"high"``, and
    ``"flagged"``, the share at or above a threshold that promises ``false_positive_rate``.

    scores: of ``"calibration"``, usual samples that the threshold is set on; of ``"test"``, usual ones to judge by; all
        others are unusual. ``"test"`` itself gets the key ``"flagged"`` alone: the false alarms that the threshold then
        gives.
    groups: as in :func:`auc_interval`, for each kind but ``"calibration"``.
    """
    groups = groups or {}
    threshold = calibrate_threshold(scores["calibration"], false_positive_rate)
    judged = {"test": {"flagged": flagged_share(scores["test"], threshold)}}
    for kind in [kind for kind in scores if kind not in ("calibration", "test")]:
        low, high = auc_interval(
            scores["test"], scores[kind], seed=seed, level=level,
            normal_groups=groups.get("test"), unusual_groups=groups.get(kind),
        )  # fmt: skip
        area, flagged = auc(scores["test"], scores[kind]), flagged_share(scores[kind], threshold)
        judged[kind] = {"AUC": area, "low": low, "high": high, "flagged": flagged}
    return judged


def _checked(scores: Tensor, name: str) -> Tensor:
    scores = scores.detach().double().cpu()
    if len(scores) == 0:
        raise ValueError(f"there are no {name} scores")
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} of {len(scores)} {name} scores are NaN")
    return scores


def _ranks(sorted_normal: Tensor, unusual: Tensor) -> tuple[Tensor, Tensor]:
    """For each unusual score how many of the normal ones lie below it, and how many not above it."""
    return tuple(torch.searchsorted(sorted_normal, unusual, side=side) for side in ("left", "right"))


def _groups(scores: Tensor, groups: Tensor | None) -> Tensor:
    """Index of each score's group, 0 and on; each its own without groups."""
    if groups is None:
        return torch.arange(len(scores))
    if len(groups) != len(scores):
        raise ValueError(f"{len(groups)} groups for {len(scores)} scores")
    return groups.cpu().unique(return_inverse=True)[1]


def _redrawn(groups: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count, samples): how often each sample's group is drawn when groups are drawn with replacement."""
    num_groups = int(groups.max()) + 1
    drawn = torch.randint(num_groups, (count, num_groups), generator=generator)
    times = torch.zeros(count, num_groups, dtype=torch.float64)
    return times.scatter_add_(1, drawn, torch.ones_like(times))[:, groups]
