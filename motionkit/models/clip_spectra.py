"""How much more is left over of one clip than of others, slowly and fast: a spectrum for each clip, of what is seen.

Of people who stand still a model leaves over next to nothing that is fast, of people who jump a lot, and how far a gap
may be bridged hangs on that. The spectrum of other clips is taken, and its octaves are made as loud as they are here.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from motionkit.models.clip_gaussian import Bridge
from motionkit.representation.dct import dct


def own_spectra(
    is_seen: Bool[Tensor, "batch frames joints 3"],
    left_over: Float[Tensor, "batch frames joints 3"],
    log_var: Float[Tensor, "frames joints 3"],
) -> Float[Tensor, "batch frames joints 3"]:
    """Log-variances of the cosine coefficients of what is left over of each clip [log m^2].

    left_over: clips less what a model makes of them [m]; values that are not seen have no influence and may be NaN.
    log_var: of other clips, as of ``leftovers_of``.
    Each octave of frequencies of a clip is made louder by one factor for all coordinates: the squares of its
    coefficients, as far as they follow from what is seen, over what such squares come to by ``log_var``. Other clips
    count as much as one coordinate; where nothing is seen, ``log_var`` is returned.

    Source: MacKay 1992, "Bayesian interpolation", Neural Computation 4: a step of the update of alpha for each octave.
    """
    bridge = Bridge.over(is_seen, log_var[None])
    nothing = torch.zeros_like(left_over)
    waves = dct(bridge(left_over, nothing).movedim(1, -1)).movedim(-1, 1)
    # of coordinates of which nothing is seen, both are 0
    squares = waves.square() * torch.exp(-log_var)
    follows = 1 - bridge.coefficient_variance() * torch.exp(-log_var)
    octave = _octaves(len(log_var)).to(log_var.device)
    of_others = octave.bincount()
    squares, follows = (
        of_others.to(each).expand(len(is_seen), -1).index_add(1, octave, each.clamp_min(0).sum((2, 3)))
        for each in (squares, follows)
    )
    return log_var + (squares / follows).log()[:, octave, None, None]


def _octaves(length: int) -> Int[Tensor, "length"]:
    """Of each coefficient: 0 for the mean, then 1, 2 and 3, 4 to 7, and so on."""
    return torch.tensor([wave.bit_length() for wave in range(length)])
