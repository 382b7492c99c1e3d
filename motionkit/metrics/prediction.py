"""What filling in is worth to whoever uses the clips next: errors of predictors whose context had gaps.

Source: paper 4 (HG-VAE), appendix C and Figure 8. Differs: distances are not squared and are of the predicted frames
alone (its Eq. 8 squares them and counts the context too); context that nothing is filled in of is the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.masks import lose_numbers
from motionkit.metrics.imputation import filled_in
from motionkit.metrics.position import mpjpe_mm
from motionkit.models.fillers import Filler

Predictor = Callable[[Float[Tensor, "clips context joints 3"]], Float[Tensor, "clips horizon joints 3"]]


@torch.no_grad()
def prediction_curves(
    predictors: Mapping[str, Predictor],
    fillers: Mapping[str, Filler],
    clips: Float[Tensor, "clips frames joints 3"],
    num_context: int,
    shares: Sequence[float],
    *,
    lose: Callable[..., Tensor] = lose_numbers,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Lose a part of the first ``num_context`` frames, fill it in, and predict the others: rows of ``predictor``,
    ``method`` (the filler), ``share``, ``seed``, and ``value``, the mean distance of joints in the frames to come [mm].

    clips: complete ones, in metres; their frames after the context are the truth. shares: from 0 to 1; at 0 nothing is
    missing, and all fillers are alike. lose: the pattern, one of ``PATTERNS``. Masks are as in ``imputation_curves``.

    Raises ``ValueError`` for clips no longer than the context, and as ``imputation_curves`` does of a filler.
    """
    if clips.shape[1] <= num_context:
        raise ValueError(f"clips have {clips.shape[1]} frames; a context of {num_context} leaves none to predict")
    context, future = clips[:, :num_context], clips[:, num_context:]
    rows = []
    for share, seed in [(share, seed) for share in shares for seed in seeds]:
        is_seen = lose(context.shape, share, torch.Generator(clips.device).manual_seed(seed))
        for method, fill in fillers.items():
            known = filled_in(method, fill, context, is_seen, seed)
            for name, predict in predictors.items():
                error = mpjpe_mm(predict(known)[:, : future.shape[1]], future).mean().item()
                rows.append((name, method, float(share), seed, error))
    return pd.DataFrame(rows, columns=["predictor", "method", "share", "seed", "value"])
