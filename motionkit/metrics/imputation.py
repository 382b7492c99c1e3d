"""Filling in what is missing of clips: how far from the truth each method ends, over the pattern and the share of what
is missing, and whether draws are as uncertain as they should be.

Source: paper 4 (HG-VAE), section 5.3 and Figure 4. Differs: every clip has a mask of its own, joints and frames are
lost too, and errors are told in millimetres besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from motionkit.data.masks import PATTERNS, lose_numbers, without_unobserved
from motionkit.fitting.surroundings import seeded
from motionkit.metrics.position import MM_PER_M, mpjpe_mm
from motionkit.models.fillers import Filler
from motionkit.models.imputation import MotionPrior, impute_map

REFERENCE = "mean"  # the filler that the others' change is counted from
TOO_LARGE = (2.83, 2.98)  # times, by joint, that the means in the public program's file are


def imputation_curves(
    fillers: Mapping[str, Filler],
    clips: Float[Tensor, "clips frames joints 3"],
    shares: Sequence[float],
    *,
    patterns: Mapping[str, Callable[..., Tensor]] = PATTERNS,
    seeds: Sequence[int] = (0,),
    is_observed: Bool[Tensor, "joints"] | None = None,
) -> pd.DataFrame:
    """Lose numbers of ``clips``, fill and score: rows of ``pattern``, ``share``, ``seed``, ``method``, ``metric``,
    ``value``.

    fillers: by the name that the rows bear; one of them must be called ``"mean"``, which puts the mean of training in
        the gaps. Each is shown NaN where nothing is seen.
    clips: complete ones, in metres.
    shares: of the numbers to lose, from 0 to 1.
    patterns: as ``PATTERNS``; every clip gets a mask of its own, and all fillers the same masks.
    seeds: of the masks, and of torch's global generator while a filler is at work, which is then put back: what one
        method scores does not depend on which others there are. A seed is the same random numbers at every share, so
        that curves are not rugged by chance.
    is_observed: joints that recordings show, by default all. The others, which stand between joints of another layout
        (``convert_joints``), are lost with whatever is lost of a clip and do not count: seen, they would give away the
        joints that they stand between, and lost, they would be no errors of a model.

    value: over all that is missing of all clips, "MSE", of numbers in square metres; "RMSE", its root in millimetres;
    "MPJPE", the mean distance in millimetres of joints that lack a coordinate or more; and "change", of the MSE against
    that of ``"mean"`` in percent, -100 where nothing is wrong any more. NaN where nothing is missing, and a "change"
    where the mean is right already.

    Raises ``ValueError`` without a ``"mean"``, for clips that are not finite, and naming the filler that changed a
    number that was seen, left one that is not finite, or returned another shape or type.
    """
    if REFERENCE not in fillers:
        raise ValueError(f"no filler is called {REFERENCE!r}; there are {', '.join(fillers)}")
    if bad := int((~clips.isfinite()).sum()):
        raise ValueError(f"{bad} numbers of the clips are not finite")
    if is_observed is None:
        is_observed = torch.ones(clips.shape[2], dtype=torch.bool, device=clips.device)
    rows = []
    for pattern, share, seed in [(p, s, n) for p in patterns for s in shares for n in seeds]:
        is_seen = patterns[pattern](clips.shape, share, torch.Generator(clips.device).manual_seed(seed))
        is_left_out = is_seen | ~is_observed[:, None]
        is_seen = without_unobserved(is_seen, is_observed)
        scores = {name: _errors(filled_in(name, fill, clips, is_seen, seed), clips, is_left_out)
                  for name, fill in fillers.items()}  # fmt: skip
        reference = scores[REFERENCE]["MSE"]
        setting = {"pattern": pattern, "share": float(share), "seed": seed}
        for method, values in scores.items():
            values["change"] = 100 * (values["MSE"] / reference - 1) if reference > 0 else math.nan
            rows += [setting | {"method": method, "metric": metric, "value": value} for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["pattern", "share", "seed", "method", "metric", "value"])


def headline_as_published(
    model: MotionPrior,
    clips: Float[Tensor, "clips frames joints 3"],
    mean: Float[Tensor, "frames joints 3"],
    share: float,
    *,
    num_steps: int,
    seed: int,
) -> pd.DataFrame:
    """Change of the MSE [%] of lost numbers against mean imputation as the public program does it: with means that are
    too large, and with right ones; by its procedure, and by putting 0 in every gap.

    Its procedure: the same numbers are lost of every clip, they start as noise of 1 mm, and Adam moves them up
    log p(z|x) by 1 mm a step. share: of the numbers that are lost. num_steps: published: 10. seed: of mask and noise.
    Rows: by how much the means are multiplied; columns ``"zeros"`` and ``"ascent"``.

    Source: the public program of paper 4; reading of its files.
    """
    generator = torch.Generator(clips.device).manual_seed(seed)
    is_seen = lose_numbers(clips[:1].shape, share, generator).expand(clips.shape)
    start = 1e-3 * torch.randn(clips.shape, generator=generator, device=clips.device, dtype=clips.dtype)
    fills = {
        "zeros": torch.zeros_like(clips),
        "ascent": impute_map(model, clips, is_seen, start, num_steps=num_steps, lr=1e-3).clips,
    }
    errors = {name: (fill - clips)[~is_seen].square().mean().item() for name, fill in fills.items()}
    references = {scale: (scale * mean - clips)[~is_seen].square().mean().item() for scale in (1.0, *TOO_LARGE)}
    rows = [
        {name: 100 * (error / reference - 1) if reference > 0 else math.nan for name, error in errors.items()}
        for reference in references.values()
    ]
    return pd.DataFrame(rows, index=[f"means times {scale:g}" for scale in references])


def coverage(
    draws: Float[Tensor, "draws batch frames joints 3"],
    truth: Float[Tensor, "batch frames joints 3"],
    is_seen: Bool[Tensor, "batch frames joints 3"],
    level: float,
) -> float:
    """Share (0 to 1) of the numbers that are not seen whose truth lies within the central interval of their draws; NaN
    where all are seen.

    level: chance that the interval should hold the truth, within (0, 1). Where the truth could as well be one more draw
        the share is the level on average, exactly so where q (draws + 1) is a whole number: less says that the draws
        are too sure, more that they are too unsure. The interval runs between the q (draws + 1)-th of the sorted draws
        and its mirror image, q = (1 - level) / 2, linear between neighbors.

    Raises ``ValueError`` for a level outside (0, 1), or one that so few draws cannot show.

    >>> draws = torch.arange(1.0, 20.0).view(19, 1, 1, 1, 1).expand(19, 2, 1, 1, 3)  # the central 90 %: from 1 to 19
    >>> truth = torch.tensor([0.0, 1.0, 5.0, 18.0, 19.0, 20.0]).view(2, 1, 1, 3)
    >>> round(coverage(draws, truth, truth < 1, level=0.9), 3)  # 0 is seen, of the other five 20 is outside
    0.8
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number within (0, 1)")
    place = (1 - level) / 2 * (len(draws) + 1) - 1  # counted from 0
    if place < -1e-9:
        most = (len(draws) - 1) / (len(draws) + 1)
        raise ValueError(f"level is {level}, and {len(draws)} draws show levels up to {most:.3g}; draw more")
    place = max(place, 0.0)
    ordered = draws[:, ~is_seen].sort(dim=0).values
    lower, part = math.floor(place), place - math.floor(place)
    upper = min(lower + 1, len(draws) - 1)
    low = torch.lerp(ordered[lower], ordered[upper], part)
    high = torch.lerp(ordered[-1 - lower], ordered[-1 - upper], part)
    true = truth[~is_seen]
    return ((true >= low) & (true <= high)).double().mean().item()


def filled_in(
    name: str,
    fill: Filler,
    clips: Float[Tensor, "clips frames joints 3"],
    is_seen: Bool[Tensor, "clips frames joints 3"],
    seed: int,
) -> Float[Tensor, "clips frames joints 3"]:
    """What a filler makes of clips that hold NaN where nothing is seen. seed: of torch's global generator meanwhile.

    Raises ``ValueError`` naming the filler, as :func:`imputation_curves`.
    """
    with seeded(clips.device, seed):
        filled = fill(torch.where(is_seen, clips, math.nan), is_seen).detach()
    if (filled.shape, filled.dtype) != (clips.shape, clips.dtype):
        raise ValueError(
            f"filler {name!r} returned {tuple(filled.shape)} {filled.dtype}, not {tuple(clips.shape)} {clips.dtype}"
        )
    if changed := int((is_seen & (filled != clips)).sum()):
        raise ValueError(f"filler {name!r} changed {changed} of {int(is_seen.sum())} numbers that are seen")
    if bad := int((~filled.isfinite()).sum()):
        raise ValueError(f"filler {name!r} left {bad} of {int((~is_seen).sum())} missing numbers not finite")
    return filled


def _errors(filled: Tensor, clips: Tensor, is_seen: Tensor) -> dict[str, float]:
    mse = (filled[~is_seen].double() - clips[~is_seen].double()).square().mean().item()
    is_hit = ~is_seen.all(-1)
    distance = mpjpe_mm(filled[is_hit].double(), clips[is_hit].double()).item()
    return {"MSE": mse, "RMSE": MM_PER_M * math.sqrt(mse), "MPJPE": distance}
