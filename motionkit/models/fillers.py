"""What fills the gaps of clips, as functions of one kind that can be set side by side: clips and a mask in, clips out.

Three need no network; ``filler_of`` makes one of any model of motion, and ``ascent_of`` one of the published procedure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from motionkit.data.gaps import interpolate_gaps
from motionkit.models.imputation import MotionPrior, Reconstructing, impute, impute_map

# (clips, is_seen) -> clips of which every number is known; what is not seen may be NaN, what is seen stays as it is
Filler = Callable[[Float[Tensor, "clips frames joints 3"], Bool[Tensor, "clips frames joints 3"]], Tensor]


# (clips, is_seen) -> mean and variance of every number, those seen as they came with 0: ``LinearPrior.given``
Given = Callable[[Float[Tensor, "clips frames joints 3"], Bool[Tensor, "clips frames joints 3"]], tuple[Tensor, Tensor]]


def remembered(given: Given) -> Given:
    """The same with its last answer kept: several fillers ask it of the same clips in turn, and it is slow."""
    last: list[Tensor] = []

    def ask(clips: Tensor, is_seen: Tensor) -> tuple[Tensor, Tensor]:
        shown = torch.where(is_seen, clips, 0.0)
        if not last or not torch.equal(last[0], is_seen) or not torch.equal(last[1], shown):
            last[:] = is_seen.clone(), shown, *given(clips, is_seen)
        return last[2].clone(), last[3].clone()

    return ask


def plain_fillers(mean: Float[Tensor, "frames joints 3"], given: Given | None = None) -> dict[str, Filler]:
    """By name: ``"mean"`` puts the mean clip of training in the gaps, ``"interpolation"`` bridges them in time, and
    ``"linear"`` takes the mean of ``given``, that of a linear model."""
    fillers: dict[str, Filler] = {
        "mean": lambda clips, is_seen: torch.where(is_seen, clips, mean.to(clips)),
        "interpolation": lambda clips, is_seen: interpolate_gaps(clips, is_seen, mean.to(clips)),
    }
    return fillers if given is None else fillers | {"linear": lambda clips, is_seen: given(clips, is_seen)[0]}


@dataclass(frozen=True)
class MeanMotion:
    """The model that makes the mean clip of every clip. What fills gaps with it owes nothing to a network: it is what a
    linear model and the frames before and after a gap say, and what a network's answer is to be compared with."""

    mean: Float[Tensor, "frames joints 3"]

    def reconstruct(
        self, clips: Float[Tensor, "batch frames joints 3"], classes: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch frames joints 3"]:
        return self.mean.to(clips).expand(clips.shape)


def filler_of(
    model: Reconstructing, given: Given, leftovers: Float[Tensor, "frames joints 3"], num_steps: int
) -> Filler:
    """``impute`` with a model, started from what a linear one expects and weighed against it by both their variances:
    whichever knows more of a number has more of a say in it."""

    def fill(clips: Tensor, is_seen: Tensor) -> Tensor:
        start, variance = given(clips, is_seen)
        return impute(model, clips, is_seen, start, leftovers, start_variance=variance, num_steps=num_steps)

    return fill


def ascent_of(model: MotionPrior, start: Filler, num_steps: int) -> Filler:
    """``impute_map``, the published procedure, started from what another filler makes of the clips."""
    return lambda clips, is_seen: impute_map(model, clips, is_seen, start(clips, is_seen), num_steps=num_steps).clips
