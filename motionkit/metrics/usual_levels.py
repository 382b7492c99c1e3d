"""log p(z|x) with each level counted by how it varies among usual clips.

Levels differ in that. The lowest of an HG-VAE may vary by a thousand nats from one usual clip to the next and those
above it by a tenth of one; what makes the latter fall by five is most unusual, and is lost in the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from motionkit.metrics.detection import calibrate_threshold
from motionkit.metrics.scores import POSTERIOR

BALANCED = f"{POSTERIOR}, balanced"


@dataclass(frozen=True)
class UsualLevels:
    """mean, deviation: (levels,) of log p(z|x) of usual clips [nats]. threshold: a clip whose ``total`` is at or below
    its negative is unusual. They lie on the CPU, as totals do."""

    mean: Float[Tensor, "levels"]
    deviation: Float[Tensor, "levels"]
    threshold: float

    @classmethod
    def of(cls, levels: Float[Tensor, "levels clips"], false_positive_rate: float) -> UsualLevels:
        """Of usual clips that took no part in training, with the threshold by which a new one of their kind is called
        unusual with this probability at most (``calibrate_threshold``; mean and deviation are of the same clips, which
        makes little of it where they are many).

        Raises ``ValueError`` for less than 2 clips, and as ``calibrate_threshold``.
        """
        if levels.shape[1] < 2:
            raise ValueError(f"levels vary among {levels.shape[1]} clips by nothing; there must be 2 or more")
        levels = levels.cpu().double()
        scale = cls(levels.mean(1), levels.std(1), torch.inf)
        threshold = calibrate_threshold(-scale.total(levels), false_positive_rate)
        return cls(scale.mean, scale.deviation, threshold)

    def total(self, levels: Float[Tensor, "levels clips"]) -> Float[Tensor, "clips"]:
        """Sum over levels of how many standard deviations a clip's log p(z|x) is above that of usual clips. Levels that
        do not vary, as those that are off, do not count."""
        away = (levels.cpu().double() - self.mean[:, None]) / self.deviation[:, None]
        return torch.where(self.deviation[:, None] > 0, away, 0.0).sum(0)

    def is_unusual(self, levels: Float[Tensor, "levels clips"]) -> Bool[Tensor, "clips"]:
        return -self.total(levels) >= self.threshold


def with_balanced(
    scored: Mapping[str, Mapping[str, Float[Tensor, "_"]]], false_positive_rate: float
) -> dict[str, dict[str, Float[Tensor, "_"]]]:
    """Scores of several kinds of clips, as of ``usual_scores``, with the ``total`` of levels added to each kind's as
    ``BALANCED``. What is usual is measured on those of the kind ``"calibration"``."""

    def levels(part: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([values for name, values in part.items() if name.startswith(f"{POSTERIOR}, level ")])

    usual = UsualLevels.of(levels(scored["calibration"]), false_positive_rate)
    return {kind: {**part, BALANCED: usual.total(levels(part))} for kind, part in scored.items()}
