"""How much more is left over of one clip than of others, slowly and fast: a spectrum for each clip, of what is seen.

Of people who stand still a model leaves over next to nothing that is fast, of people who jump a lot, and how far a gap
may be bridged hangs on that. The spectrum of other clips is taken, and each of its octaves is made louder or quieter.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.models.clip_gaussian import Bridge
from motionkit.representation.dct import dct


def own_spectra(
    bridge: Bridge,
    left_over: Float[Tensor, "batch frames joints 3"],
    log_var: Float[Tensor, "frames joints 3"],
) -> Float[Tensor, "batch frames joints 3"]:
    """Log-variances of the cosine coefficients of what is left over of each clip [log m^2].

    bridge: over what is taken for the clips' so far, at first ``log_var``, then the last answer: what an answer repeats
        is most probable.
    left_over: clips less what a model makes of them [m]; values that are not seen have no influence and may be NaN.
    log_var: of other clips, as of ``leftovers_of``.
    In each octave of frequencies variances are those of other clips times one factor for all coordinates of a clip: its
    squared coefficients, as far as they follow from what is seen, in units of other clips' variances, over how many
    coefficients what is seen determines. Other clips count as much as one coordinate; where nothing is seen, theirs are
    returned. Numbers that are far off and still called seen make everything louder.

    Source: MacKay 1992, "Bayesian interpolation", Neural Computation 4: a step of the update of alpha for each octave.
    """
    others = log_var.double()
    waves = dct(bridge(left_over, torch.zeros_like(left_over)).movedim(1, -1).double()).movedim(-1, 1)
    known = 1 - bridge.coefficient_variance() * torch.exp(-bridge.log_var.double())  # of a coefficient, 0 to 1
    octaves = _octaves(len(log_var)).to(others)
    squares = waves.square() * torch.exp(-others)
    squares, known = (each.clamp_min(0).sum((2, 3)) @ octaves + octaves.sum(0) for each in (squares, known))
    louder = (squares / known).log() @ octaves.t()
    return (others + louder[:, :, None, None]).to(torch.promote_types(left_over.dtype, torch.float32))


def _octaves(length: int) -> Int[Tensor, "length octaves"]:
    """1 where a coefficient is in an octave: the mean by itself, then the first wave, 2 and 3, 4 to 7, and so on."""
    return torch.nn.functional.one_hot(torch.tensor([wave.bit_length() for wave in range(length)]))
