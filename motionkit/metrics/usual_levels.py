"""log p(z|x) with each level counted by how it varies among usual clips.

Levels differ in that. The lowest of an HG-VAE may vary by a thousand nats from one usual clip to the next and those
above it by a tenth of one: what makes the latter fall by five is most unusual, and is lost in the sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from motionkit.metrics.detection import calibrate_threshold
from motionkit.metrics.scores import POSTERIOR

BALANCED = f"{POSTERIOR}, balanced"
LEAST_DEVIATION = 1e-6  # of the mean: what varies by less is rounding


@dataclass(frozen=True)
class UsualLevels:
    """mean, deviation: (levels,) of log p(z|x) of usual clips [nats], on the CPU. threshold: a clip whose ``total`` is
    at or below its negative is unusual; with the default no clip is."""

    mean: Float[Tensor, "levels"]
    deviation: Float[Tensor, "levels"]
    threshold: float = math.inf

    @classmethod
    def of(cls, levels: Float[Tensor, "levels clips"], false_positive_rate: float | None = None) -> UsualLevels:
        """Of usual clips that took no part in training.

        false_positive_rate: adds the threshold by which a new clip of their kind is called unusual with about this
            probability. ``calibrate_threshold`` promises it; that mean and deviation are of the same clips makes it a
            little more, the less the more there are and the less they have in common.
        Raises ``ValueError`` for less than 2 clips, for scores that are not finite, and as ``calibrate_threshold``.
        """
        if levels.shape[1] < 2:
            raise ValueError(f"how levels vary cannot be told from {levels.shape[1]} clips; there must be 2 or more")
        if bad := int((~levels.isfinite()).sum()):
            raise ValueError(f"{bad} of {levels.numel()} scores of usual clips are not finite")
        levels = levels.cpu().double()
        usual = cls(levels.mean(1), levels.std(1))
        if false_positive_rate is None:
            return usual
        return replace(usual, threshold=calibrate_threshold(-usual.total(levels), false_positive_rate))

    def total(self, levels: Float[Tensor, "levels clips"]) -> Float[Tensor, "clips"]:
        """Sum over levels of how many standard deviations a clip's log p(z|x) is above the mean of usual clips. Levels
        that do not vary, as those that are off, do not count.

        Raises ``ValueError`` for another number of levels.
        """
        if len(levels) != len(self.mean):
            raise ValueError(f"there are {len(levels)} levels, and of usual clips {len(self.mean)} were measured")
        varies = self.deviation > LEAST_DEVIATION * self.mean.abs()
        away = (levels.cpu().double() - self.mean[:, None]) / self.deviation[:, None]
        return away[varies].sum(0)

    def is_unusual(self, levels: Float[Tensor, "levels clips"]) -> Bool[Tensor, "clips"]:
        return -self.total(levels) >= self.threshold


def with_balanced(
    scored: Mapping[str, Mapping[str, Float[Tensor, "_"]]],
) -> dict[str, dict[str, Float[Tensor, "_"]]]:
    """Scores of several kinds of clips, as of ``usual_scores``, with the ``total`` of levels added to each kind's as
    ``BALANCED``. What is usual is measured on those of the kind ``"calibration"``, and raises as ``UsualLevels.of``."""

    def levels(part: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([values for name, values in part.items() if name.startswith(f"{POSTERIOR}, level ")])

    usual = UsualLevels.of(levels(scored["calibration"]))
    return {kind: {**part, BALANCED: usual.total(levels(part))} for kind, part in scored.items()}
