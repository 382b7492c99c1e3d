"""Ways to clean keypoints that a detector got wrong: filters in time, and tokenizers of heatmap video.

A denoiser is called as ``denoiser(keypoints (B, T, J, 2), confidence (B, T, J)) -> keypoints (B, T, J, 2)``, pixels.
Keypoints of confidence 0 were missed; wherever they lie, all denoisers first bridge them in time (`fill_missing`), so
that a filter is no weaker than it has to be.

Source: the paper's Table I claims that heatmap tokens denoise (column "Denoising") and tests it nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter
from torch import Tensor

from motionkit.data.gaps import fill_missing
from motionkit.representation.heatmap_fit import fit_keypoints
from motionkit.representation.heatmaps import Limbs, limbs_to_heatmaps

Denoiser = Callable[[Tensor, Tensor], Tensor]


def temporal_median(
    keypoints: Float[Tensor, "B T J 2"], confidence: Float[Tensor, "B T J"], *, frames: int = 5
) -> Float[Tensor, "B T J 2"]:
    """Each coordinate becomes the median over ``frames`` frames about it; the window's first and last frame count
    repeatedly at its ends. Errors that last less than half of them vanish.

    Raises ``ValueError`` for an even number of frames.
    """
    _check_odd(frames)
    filled = fill_missing(keypoints, confidence)
    filtered = median_filter(filled.cpu().numpy(), size=(1, frames, 1, 1), mode="nearest")
    return torch.from_numpy(filtered).to(keypoints)


def savitzky_golay(
    keypoints: Float[Tensor, "B T J 2"], confidence: Float[Tensor, "B T J"], *, frames: int = 9, order: int = 2
) -> Float[Tensor, "B T J 2"]:
    """Each coordinate becomes the value of the polynomial of this order fitted to ``frames`` frames about it; at the
    window's ends, of the one fitted to its outermost ``frames``.

    Raises ``ValueError`` for an even number of frames, more frames than the window has, or too high an order.
    Source: Savitzky and Golay 1964.
    """
    _check_odd(frames)
    if frames > keypoints.shape[1] or not 0 <= order < frames:
        raise ValueError(f"frames is {frames} and order {order}, of windows with {keypoints.shape[1]} frames")
    filled = fill_missing(keypoints, confidence).cpu().numpy().astype(np.float64)
    return torch.from_numpy(savgol_filter(filled, frames, order, axis=1, mode="interp")).to(keypoints)


# Widths that serve body motion at 20 to 30 fps over all levels of jitter; none is best at each.
FILTERS: dict[str, Denoiser] = {
    "as detected": fill_missing,
    "median": temporal_median,
    "Savitzky-Golay": savitzky_golay,
}


@dataclass(frozen=True)
class TokenizerDenoiser:
    """Keypoints drawn as limb heatmap video, encoded, decoded, and read from the result by `fit_keypoints`.

    model: has ``reconstruct(clips (B, L, T, H, W)).output (B, 1, T, H, W)``, as ``VQGAN`` and ``DVAE`` do.
    limbs, size, sigma_px: what it was trained on, as in ``HeatmapVideo``.
    draws_missing: whether keypoints that were bridged are drawn. Otherwise their limbs are absent from the model's
        input, which then has to complete the body.

    The fit starts at the bridged keypoints, which decide what the picture leaves open.
    """

    model: Any
    limbs: Limbs
    size: int
    sigma_px: float
    draws_missing: bool = True

    def denoise(
        self, keypoints: Float[Tensor, "B T J 2"], confidence: Float[Tensor, "B T J"]
    ) -> tuple[Float[Tensor, "B T J 2"], Float[Tensor, "B 1 T H W"]]:
        """Clean keypoints, and the model's picture they were read from, clipped to [0, 1]."""
        filled = fill_missing(keypoints, confidence)
        peaks = torch.ones_like(confidence) if self.draws_missing else (confidence > 0).to(confidence)
        drawn = limbs_to_heatmaps(filled, self.limbs, self.size, self.sigma_px, peaks, video=True)
        pictures = self.model.reconstruct(drawn).output.float().clamp(0, 1)
        return fit_keypoints(pictures, filled, self.limbs, self.sigma_px), pictures

    def __call__(
        self, keypoints: Float[Tensor, "B T J 2"], confidence: Float[Tensor, "B T J"]
    ) -> Float[Tensor, "B T J 2"]:
        return self.denoise(keypoints, confidence)[0]


def _check_odd(frames: int) -> None:
    if frames < 1 or frames % 2 == 0:
        raise ValueError(f"frames is {frames}; expected an odd number of 1 or more")
