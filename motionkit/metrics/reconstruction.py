"""How well heatmap video comes back: the metrics of Table III, window by window, for models and baselines alike.

Source: Adversarially-refined VQ-GAN, section IV-C and Table III.
Differs: beside the paper's metrics stands SSIM over the foreground, and the caller is meant to score trivial outputs
too: a blank picture alone reaches an SSIM of 0.6 to 0.8 on sparse heatmaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.metrics.image import (
    l1,
    psnr,
    ssim,
    ssim_foreground,
    ssim_skill,
    tstd_code,
    tstd_paper,
    tstd_temporal,
)
from motionkit.metrics.tokens import dead_codes, perplexity, usage
from motionkit.models.autoencoder import Reconstruction

# Columns of the scores, with the paper's spelling where Table III has the column.
SCORES = ("SSIM", "SSIM foreground", "PSNR", "L1", "T-Std", "T-Std temporal", "T-Std paper")


@runtime_checkable
class Tokenizer(Protocol):
    """A model of heatmap video with tokens, such as ``VQGAN`` or ``DVAE``."""

    def reconstruct(self, clips: Tensor) -> Reconstruction: ...


@torch.inference_mode()
def reconstruction_scores(
    reconstruct: Callable[[Tensor, Tensor], Tensor], batches: Iterable[Mapping[str, Tensor]]
) -> dict[str, Float[Tensor, "windows"]]:
    """Score every window of ``batches``: name of the metric -> (windows,) float32 on the CPU.

    reconstruct: ``(input (B, C_in, T, H, W), target (B, C, T, H, W)) -> output`` shaped like the target. Models use
        only the input, trivial baselines only the target.
    batches: dicts with "input" and "target", values in [0, 1].

    Outputs are clipped to [0, 1] first, as the published evaluation does. SSIM uses the border rule "valid", which is
    the published code's; PSNR (dB) is that of a frame's mean squared error over its channels; both, and L1 (in units of
    intensity), are means over the frames of a window, foreground SSIM over those that show anything, NaN if
    none does. "T-Std" is the public code's statistic, "T-Std paper" the literal equation of the text, "T-Std temporal"
    the pixelwise spread of the error over time. SSIM and the three T-Std are taken channel by channel and averaged.

    Raises ``ValueError`` for an output of another shape than its target and for frames smaller than SSIM's window.
    """
    scores: dict[str, list[Tensor]] = {name: [] for name in SCORES}
    for batch in batches:
        target = batch["target"].float()
        output = reconstruct(batch["input"], target).float().clamp(0, 1)
        for name, values in window_scores(output, target).items():
            scores[name].append(values.cpu())
    return {name: torch.cat(values) for name, values in scores.items()}


@torch.inference_mode()
def tokenizer_scores(
    model: Tokenizer, batches: Iterable[Mapping[str, Tensor]]
) -> tuple[dict[str, Float[Tensor, "windows"]], Int[Tensor, "windows t h w"]]:
    """The scores of a model with tokens, and the tokens (windows, t, h, w) on the CPU: one pass over ``batches``.

    Adds "Q-Loss", the quantizer's loss of the window's batch, where the model has one (the paper: its mean over the
    test set, one window a batch).
    """
    tokens: list[Tensor] = []
    q_losses: list[Tensor] = []

    def reconstruct(clips: Tensor, _: Tensor) -> Tensor:
        result = model.reconstruct(clips)
        tokens.append(result.tokens.cpu())
        if result.q_loss is not None:
            q_losses.append(result.q_loss.float().cpu().expand(len(clips)))
        return result.output

    scores = reconstruction_scores(reconstruct, batches)
    return scores | ({"Q-Loss": torch.cat(q_losses)} if q_losses else {}), torch.cat(tokens)


def summarize(
    scores: Mapping[str, Float[Tensor, "windows"]],
    blank: Mapping[str, Float[Tensor, "windows"]],
    tokens: Int[Tensor, "..."] | None = None,
    num_codes: int = 0,
) -> dict[str, float]:
    """One number a metric: the mean over the windows, those with NaN left out; and what follows from several of them.

    blank: the scores of the blank output on the same windows, for "SSIM skill".
    tokens, num_codes: with them also "Perplexity" and "Codes used" of these windows.
    """
    means = {name: values.nanmean().item() for name, values in scores.items()}
    skill = float(ssim_skill(means["SSIM"], blank["SSIM"].mean().item()))
    means = {"SSIM": means["SSIM"], "SSIM skill": skill} | means
    if tokens is not None:
        counts = usage(tokens, num_codes)
        means |= {"Perplexity": perplexity(counts), "Codes used": float(num_codes - len(dead_codes(counts)))}
    return means


def window_scores(
    output: Float[Tensor, "B C T H W"], target: Float[Tensor, "B C T H W"]
) -> dict[str, Float[Tensor, "B"]]:
    """The scores of one batch, values in [0, 1]; see :func:`reconstruction_scores`."""
    # One picture a frame: its channels below one another, so that a frame's squared error covers them all.
    wide_output, wide_target = (video.transpose(1, 2).flatten(2, 3) for video in (output, target))
    return {
        "SSIM": ssim(output, target, border="valid").mean((1, 2)),
        "SSIM foreground": ssim_foreground(output, target).nanmean((1, 2)),
        "PSNR": psnr(wide_output, wide_target).mean(1),
        "L1": l1(wide_output, wide_target).mean(1),
        "T-Std": tstd_code(output, target).mean(1),
        "T-Std temporal": tstd_temporal(output, target).mean(1),
        "T-Std paper": tstd_paper(output).mean(1),
    }
