"""What fills the gaps of clips, as functions of one kind that can be set side by side: clips and a mask in, clips out.

``plain_fillers`` need no network; ``filler_of`` makes one of any model of motion, ``ascent_of`` one of the published
procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from motionkit.data.gaps import interpolate_gaps
from motionkit.models.clip_gaussian import Bridge
from motionkit.models.clip_spectra import own_spectra
from motionkit.models.imputation import MotionPrior, Reconstructing, impute, impute_map, in_chunks, leftovers_of
from motionkit.models.opinions import share_of_second, variance_of_both

# (clips, is_seen) -> clips of which every number is known; what is not seen may be NaN, what is seen stays as it is
Filler = Callable[[Float[Tensor, "clips frames joints 3"], Bool[Tensor, "clips frames joints 3"]], Tensor]


# (clips, is_seen) -> mean and variance of every number, those seen as they came with 0, as of ``LinearPrior.given``
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


@dataclass(frozen=True)
class MeanMotion:
    """The model that makes the mean clip of every clip: what is left over of it is what there is to know."""

    mean: Float[Tensor, "frames joints 3"]

    def reconstruct(
        self, clips: Float[Tensor, "batch frames joints 3"], classes: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch frames joints 3"]:
        return self.mean.to(clips).expand(clips.shape)


def bridged(
    given: Given, mean: Float[Tensor, "frames joints 3"], calibration: Float[Tensor, "count frames joints 3"]
) -> Given:
    """``given`` and what lies before and after each gap, heard together: what can be known without a network, and what
    a network's answer is to be compared with and to start from.

    What the seen numbers of a coordinate differ from the mean clip by is carried across its gaps, by how such
    differences vary in time: on calibration clips, made louder or quieter as they are in this clip (a step of
    ``own_spectra``; ``impute`` takes ``SETTLED`` of them).

    given: e.g. ``LinearPrior.given``. mean: the mean clip [m]. calibration: complete clips [m], by which it is measured
    how differences vary; not those of training.
    Returns a function of clips and mask that gives mean [m] and variance [m^2], both of the shape of the clips.
    Raises ``ValueError`` without calibration clips.
    """
    still = MeanMotion(mean)
    leftovers = leftovers_of(still, calibration)

    def ask(clips: Tensor, is_seen: Tensor) -> tuple[Tensor, Tensor]:
        parts = []
        for part, seen, expected, variance in in_chunks(clips, is_seen, *given(clips, is_seen)):
            made, others = still.reconstruct(part), leftovers.to(part)
            bridge = Bridge.over(seen, others[None])
            bridge = Bridge.over(seen, own_spectra(bridge, part - made, others))
            share = share_of_second(variance, bridge.variance)
            both = torch.lerp(expected, bridge(part, made), share)
            parts.append((torch.where(seen, part, both), variance_of_both(variance, bridge.variance)))
        means, variances = zip(*parts, strict=True)
        return torch.cat(means), torch.cat(variances)

    return ask


def plain_fillers(
    mean: Float[Tensor, "frames joints 3"], given: Mapping[str, Given] | None = None
) -> dict[str, Filler]:
    """By name: ``"mean"`` puts the mean clip of training in the gaps, ``"interpolation"`` bridges them in time, and
    each of ``given``, such as ``{"linear": linear.given}``, what it expects."""
    fillers: dict[str, Filler] = {
        "mean": lambda clips, is_seen: torch.where(is_seen, clips, mean.to(clips)),
        "interpolation": lambda clips, is_seen: interpolate_gaps(clips, is_seen, mean.to(clips)),
    }
    return fillers | {
        name: lambda clips, is_seen, ask=ask: ask(clips, is_seen)[0] for name, ask in (given or {}).items()
    }


def filler_of(
    model: Reconstructing, given: Given, leftovers: Float[Tensor, "frames joints 3"], num_steps: int
) -> Filler:
    """``impute`` with a model, started from what is expected without it, e.g. by ``bridged``, and weighed against that
    by both their variances: whichever knows more of a number has more of a say in it."""

    def fill(clips: Tensor, is_seen: Tensor) -> Tensor:
        start, variance = given(clips, is_seen)
        return impute(model, clips, is_seen, start, leftovers, start_variance=variance, num_steps=num_steps)

    return fill


def ascent_of(model: MotionPrior, start: Filler, num_steps: int) -> Filler:
    """``impute_map``, the published procedure, started from what another filler makes of the clips."""
    return lambda clips, is_seen: impute_map(model, clips, is_seen, start(clips, is_seen), num_steps=num_steps).clips
