"""What fills the gaps of clips, as functions of one kind that can be set side by side: clips and a mask in, clips out.

Three need no network; ``filler_of`` makes one of any model of motion, and ``ascent_of`` one of the published procedure.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from motionkit.data.gaps import interpolate_gaps
from motionkit.models.imputation import MotionPrior, impute, impute_map
from motionkit.models.linear_prior import LinearPrior

# (clips, is_seen) -> clips of which every number is known; what is not seen may be NaN, what is seen stays as it is
Filler = Callable[[Float[Tensor, "clips frames joints 3"], Bool[Tensor, "clips frames joints 3"]], Tensor]


def plain_fillers(mean: Float[Tensor, "frames joints 3"], linear: LinearPrior | None = None) -> dict[str, Filler]:
    """By name: ``"mean"`` puts the mean clip of training in the gaps, ``"interpolation"`` bridges them in time, and
    with a linear model ``"linear"`` expects what it does and ``"halfway"`` is the mean of the last two.

    Interpolation is best in short gaps, the linear model in long ones: a network that starts halfway ends nearest to
    the truth.
    """
    fillers: dict[str, Filler] = {
        "mean": lambda clips, is_seen: torch.where(is_seen, clips, mean.to(clips)),
        "interpolation": lambda clips, is_seen: interpolate_gaps(clips, is_seen, mean.to(clips)),
    }
    if linear is None:
        return fillers
    bridge, expect = fillers["interpolation"], _remembered(linear.mean_given)
    return fillers | {
        "linear": expect,
        "halfway": lambda clips, is_seen: (bridge(clips, is_seen) + expect(clips, is_seen)) / 2,
    }


def filler_of(model: MotionPrior, start: Filler, leftovers: Float[Tensor, "frames joints 3"], num_steps: int) -> Filler:
    """``impute`` with a model, started from what another filler makes of the clips."""
    return lambda clips, is_seen: impute(model, clips, is_seen, start(clips, is_seen), leftovers, num_steps=num_steps)


def ascent_of(model: MotionPrior, start: Filler, num_steps: int) -> Filler:
    """``impute_map``, the published procedure, started from what another filler makes of the clips."""
    return lambda clips, is_seen: impute_map(model, clips, is_seen, start(clips, is_seen), num_steps=num_steps).clips


def _remembered(fill: Filler) -> Filler:
    """The filler with its last answer kept: many others start from what it makes of the same clips, and it is slow."""
    last: list[Tensor] = []

    def remembered(clips: Tensor, is_seen: Tensor) -> Tensor:
        shown = torch.where(is_seen, clips, 0.0)
        if not last or not torch.equal(last[0], is_seen) or not torch.equal(last[1], shown):
            last[:] = is_seen.clone(), shown, fill(clips, is_seen)
        return last[2].clone()

    return remembered
