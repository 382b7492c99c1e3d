"""What filling in is worth to whoever uses the clips next: errors of predictors whose context had gaps.

Source: paper 4 (HG-VAE), appendix C and Figure 8. Differs: distances are not squared and are of the predicted frames
alone (its Eq. 8 squares them and counts the context too); the complete context is there as a reference, and whole
joints are lost besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from motionkit.data.masks import lose_joints, lose_numbers, without_unobserved
from motionkit.metrics.imputation import filled_in
from motionkit.metrics.position import mpjpe_mm
from motionkit.models.fillers import Filler

Predictor = Callable[[Float[Tensor, "clips context joints 3"]], Float[Tensor, "clips horizon joints 3"]]

AVERAGE = "MPJPE"  # the metric that is over all frames to come
HORIZONS_MS = (80, 160, 320, 400, 1000)  # at which the field reports errors

# frames that are lost altogether leave nothing to start from where they are the last ones
LOST: dict[str, Callable[..., Tensor]] = {"numbers": lose_numbers, "joints": lose_joints}


def prediction_curves(
    predictors: Mapping[str, Predictor],
    fillers: Mapping[str, Filler],
    clips: Float[Tensor, "clips frames joints 3"],
    num_context: int,
    shares: Sequence[float],
    *,
    patterns: Mapping[str, Callable[..., Tensor]] = LOST,
    seeds: Sequence[int] = (0,),
    at_frames: Mapping[str, int] | None = None,
    is_observed: Bool[Tensor, "joints"] | None = None,
) -> pd.DataFrame:
    """Lose a part of the first ``num_context`` frames, fill it in, and predict the others: rows of ``predictor``,
    ``method`` (the filler), ``pattern``, ``share``, ``seed``, ``metric`` and ``value``, a mean distance of joints [mm]:
    "MPJPE" over all frames to come, and over one frame by each name of ``at_frames``.

    clips: complete ones, in metres; their frames after the context are the truth, of which predictors may give fewer or
        more than there are: what both have counts.
    shares: from 0 to 1; at 0 nothing is missing, and all fillers are alike.
    patterns, seeds, is_observed: of the masks; they are as in ``imputation_curves``. Joints not observed do not count.
    at_frames: name -> which of the frames to come, from 1: see ``frames_at``.

    Raises ``ValueError`` for clips no longer than the context, a predictor that does not reach a frame that is asked
    for, and as ``imputation_curves`` does of a filler.
    """
    if clips.shape[1] <= num_context:
        raise ValueError(f"clips have {clips.shape[1]} frames; a context of {num_context} leaves none to predict")
    if is_observed is None:
        is_observed = torch.ones(clips.shape[2], dtype=torch.bool, device=clips.device)
    context, future = clips[:, :num_context], clips[:, num_context:]
    whole: dict[str, dict[str, float]] = {}  # errors after a context that lacks nothing, which need no second look
    rows = []
    for pattern, share, seed in [(pattern, share, seed) for pattern in patterns for share in shares for seed in seeds]:
        shown = patterns[pattern](context.shape, share, torch.Generator(context.device).manual_seed(seed))
        is_seen = without_unobserved(shown, is_observed)
        for method, fill in fillers.items():
            if not is_seen.all():
                found = _errors(
                    predictors, filled_in(method, fill, context, is_seen, seed), future, at_frames or {}, is_observed
                )
            else:
                found = whole = whole or _errors(predictors, context, future, at_frames or {}, is_observed)
            rows += [
                (name, method, pattern, float(share), seed, metric, value)
                for name, errors in found.items()
                for metric, value in errors.items()
            ]
    return pd.DataFrame(rows, columns=["predictor", "method", "pattern", "share", "seed", "metric", "value"])


def prediction_cells(curves: pd.DataFrame) -> list[tuple[str, str, pd.Series]]:
    """What ``prediction_curves`` found as a table of results keeps it: row, column and values [mm].

    The row is a predictor. Columns are ``"whole context: MPJPE"``, one value where nothing is lost, and of each
    pattern, share and method ``"numbers 0.5, linear: MPJPE"``, one value a seed.
    """
    whole = curves[curves["share"] == 0].drop_duplicates(["predictor", "metric"])
    cells = [
        (name, f"whole context: {metric}", part["value"])
        for (name, metric), part in whole.groupby(["predictor", "metric"], sort=False)
    ]
    by = ["predictor", "pattern", "share", "method", "metric"]
    return cells + [
        (name, f"{pattern} {share:g}, {method}: {metric}", part["value"])
        for (name, pattern, share, method, metric), part in curves[curves["share"] > 0].groupby(by, sort=False)
    ]


def frames_at(times_ms: Sequence[float], fps: float, horizon: int) -> dict[str, int]:
    """Name -> frame, from 1, of times after the last frame seen.

    >>> frames_at((80, 400, 1000), fps=25, horizon=25)
    {'80 ms': 2, '400 ms': 10, '1000 ms': 25}

    Raises ``ValueError`` for a time that is not that of a frame, to a hundredth of one, naming the nearest ones, or
    that lies beyond the horizon.
    """
    found = {}
    for time in times_ms:
        exact = time * fps / 1000
        frame = round(exact)
        if abs(exact - frame) > 0.01 or not 1 <= frame <= horizon:
            near = " and ".join(
                f"{1000 * n / fps:g} ms" for n in sorted({int(exact), int(exact) + 1}) if 0 < n <= horizon
            )
            raise ValueError(
                f"at {fps:g} fps no frame of {horizon} is at {time:g} ms; "
                f"{f'near it are {near}' if near else f'the last one is at {1000 * horizon / fps:g} ms'}"
            )
        found[f"{time:g} ms"] = frame
    return found


def _errors(
    predictors: Mapping[str, Predictor],
    context: Tensor,
    future: Tensor,
    at_frames: Mapping[str, int],
    is_observed: Bool[Tensor, "joints"],
) -> dict[str, dict[str, float]]:
    """Of each predictor, its errors by metric."""
    found = {}
    for name, predict in predictors.items():
        with torch.no_grad():  # not around the fillers, of which some ascend a gradient
            predicted = predict(context)[:, : future.shape[1]]
        by_frame = mpjpe_mm(predicted[:, :, is_observed], future[:, : predicted.shape[1], is_observed]).mean(0)
        if late := [what for what, frame in at_frames.items() if not 1 <= frame <= len(by_frame)]:
            raise ValueError(f"predictor {name!r} gives {len(by_frame)} frames; {late[0]!r} is {at_frames[late[0]]}")
        found[name] = {AVERAGE: by_frame.mean().item()}
        found[name] |= {what: by_frame[frame - 1].item() for what, frame in at_frames.items()}
    return found
