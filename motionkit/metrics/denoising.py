"""Curves of denoising: how far from the truth each method ends, over the kind and the amount of corruption.

Two views of the same results, common to all methods. In pictures: what a method's keypoints look like drawn as
heatmaps, a tokenizer's own picture taken as it is, against the heatmaps of the true keypoints. In pixels: keypoints
against true keypoints, a tokenizer's read from its picture by ``fit_keypoints``.

Source: own; the paper's Table I claims denoising without an experiment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.corruption import CORRUPTIONS
from motionkit.data.skeleton import Skeleton
from motionkit.metrics.image import l1, ssim, ssim_foreground
from motionkit.metrics.position import keypoint_error_px
from motionkit.models.denoisers import Denoiser, TokenizerDenoiser
from motionkit.representation.heatmaps import limbs_to_heatmaps

KEYPOINTS_PX = "Keypoints [px]"


@torch.no_grad()
def denoising_curves(
    keypoints: Float[Tensor, "B T J 2"],
    denoisers: Mapping[str, Denoiser],
    levels: Mapping[str, Sequence[float]],
    *,
    skeleton: Skeleton,
    size: int,
    sigma_px: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Corrupt, denoise and score ``keypoints``: rows of ``kind``, ``level``, ``method``, ``metric``, ``value``,
    ``spread``, for a ``pandas.DataFrame``.

    keypoints: true ones in pixels of a picture of ``size`` pixels a side, all of them seen.
    denoisers: by the name that the rows bear.
    levels: for each kind of ``CORRUPTIONS`` the levels to try.
    sigma_px: of the limbs drawn to compare pictures.
    seed: of the corruption. At every level of a kind the same random numbers are used, so curves are not rugged by
        chance, and every method gets the same input.

    value: mean over the windows of "Keypoints [px]", "SSIM" (border "valid"), "SSIM foreground" and "L1", each a mean
    over a window's frames. spread: their standard deviation over the windows; 0 for one window.

    Raises ``ValueError`` for an unknown kind.
    """
    if unknown := set(levels) - set(CORRUPTIONS):
        raise ValueError(f"unknown kind of corruption {min(unknown)!r}; known are {', '.join(CORRUPTIONS)}")

    def draw(points: Tensor) -> Tensor:
        return limbs_to_heatmaps(points, skeleton.limbs, size, sigma_px, merge=True, video=True)

    rows, clean = [], draw(keypoints)
    for kind, level in [(kind, level) for kind, tried in levels.items() for level in tried]:
        generator = torch.Generator(keypoints.device).manual_seed(seed)
        detected, confidence = CORRUPTIONS[kind].apply(keypoints, level, generator, skeleton)
        for method, denoiser in denoisers.items():
            if isinstance(denoiser, TokenizerDenoiser):
                found, pictures = denoiser.denoise(detected, confidence)
            else:
                found = denoiser(detected, confidence)
                pictures = draw(found)
            for metric, values in _scores(found, pictures, keypoints, clean).items():
                spread = values.std().item() if len(values) > 1 else 0.0
                name = {"kind": kind, "level": float(level), "method": method, "metric": metric}
                rows.append(name | {"value": values.mean().item(), "spread": spread})
    return rows


def _scores(found: Tensor, pictures: Tensor, keypoints: Tensor, clean: Tensor) -> dict[str, Float[Tensor, "B"]]:
    return {
        KEYPOINTS_PX: keypoint_error_px(found, keypoints).mean(1),
        "SSIM": ssim(pictures, clean, border="valid").mean((1, 2)),
        "SSIM foreground": ssim_foreground(pictures, clean).nanmean((1, 2)),
        "L1": l1(pictures, clean).mean((1, 2)),
    }
